"""Tables of a classifier's reports, as columns and rows of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stillroom.v1 import classification_service_pb2 as pb

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]

# A longer list of labels is for a page: people see the worst ones.
MOST_LABELS = 40
_BAR = 20
_TEXT = 70


def labels(report: pb.ClassificationReport) -> Table:
    """How good it is at each label; of many, the ones with the lowest F1."""
    found = list(report.labels)
    if len(found) > MOST_LABELS:
        found.sort(key=lambda label: label.f1 if label.HasField("f1") else 2.0)
        del found[MOST_LABELS:]
    several = any(label.HasField("threshold") for label in found)
    rows: list[tuple[str, ...]] = [
        (
            label.label,
            f"{label.support:,}",
            f"{label.precision:.4f}" if label.HasField("precision") else "",
            f"{label.recall:.4f}" if label.HasField("recall") else "",
            f"{label.f1:.4f}" if label.HasField("f1") else "",
            f"{label.average_precision:.4f}" if label.HasField("average_precision") else "",
            *([f"{label.threshold:.3f}" if label.HasField("threshold") else ""] * several),
        )
        for label in found
    ]
    columns = ("LABEL", "TEXTS#", "PRECISION#", "RECALL#", "F1#", "AVERAGE PRECISION#")
    return (*columns, *["THRESHOLD#"] * several), rows


def confused(report: pb.ClassificationReport) -> Table:
    """What is taken for what, with the text that it was surest of."""
    rows: list[tuple[str, ...]] = [
        (
            pair.true_label,
            pair.given_label,
            f"{pair.count:,}",
            f"{pair.share:.1%}",
            _short(pair.examples[0].text) if pair.examples else "",
        )
        for pair in report.confused_pairs
    ]
    return ("IS", "TAKEN FOR", "TEXTS#", "SHARE#", "SUCH AS"), rows


def reliability(report: pb.ClassificationReport) -> Table:
    """The reliability curve: what it says against what is so."""
    rows: list[tuple[str, ...]] = [
        (
            f"{found.lower:.0%} to {found.upper:.0%}",
            f"{found.count:,}",
            f"{found.mean_confidence:.1%}",
            f"{found.accuracy:.1%}",
            "█" * round(found.accuracy * _BAR),
        )
        for found in report.calibration.bins
        if found.count
    ]
    return ("CONFIDENCE", "COUNT#", "MEAN#", "RIGHT#", ""), rows


def candidates(training: pb.TrainingReport) -> Table:
    """What was tried, where there was a choice."""
    tried = training.candidates
    rows: list[tuple[str, ...]] = [
        (
            head(candidate.options) + (" (chosen)" if candidate.chosen else ""),
            f"{candidate.accuracy:.2%}",
            f"{candidate.macro_f1:.4f}",
            f"{candidate.log_loss:.4f}",
            f"{candidate.seconds:.1f}",
        )
        for candidate in (tried if len(tried) > 1 else ())
    ]
    return ("TRIED", "ACCURACY#", "MACRO F1#", "LOG LOSS#", "SECONDS#"), rows


def head(options: pb.ClassifierOptions) -> str:
    """What was trained, in a few words."""
    from stillroom._protocol import enums
    from stillroom.v1 import classification_service_pb2 as pb

    parts = []
    if options.HasField("mlp"):
        sizes = " x ".join(map(str, options.mlp.hidden_sizes))
        parts.append(f"MLP of {sizes}" if sizes else "MLP")
    else:
        solver = options.linear.solver
        by = enums.word(pb.LinearSolver, solver).replace("_", " ") if solver else ""
        strength = f", l2 {options.linear.l2:.2g}" if options.linear.HasField("l2") else ""
        parts.append(f"linear ({by}{strength})" if by or strength else "linear")
    if options.encoder_tuning.mode:
        mode = enums.word(pb.EncoderTuningMode, options.encoder_tuning.mode)
        frozen = options.encoder_tuning.mode == pb.ENCODER_TUNING_MODE_FROZEN
        tuned = f"{mode.replace('_', ' ')} tuned"
        parts.append("encoder frozen" if frozen else tuned)
    if options.ngrams.mode == pb.NGRAM_MODE_ON:
        runs = options.ngrams
        parts.append(f"runs of {runs.min_n} to {runs.max_n} tokens")
    return ", ".join(parts)


# What each kind of oddity is called, of so many.
_ISSUES = {
    "duplicate_text": "examples have a text that occurs several times with the same labels",
    "conflicting_labels": "examples have a text that occurs with different labels",
    "training_text_in_validation": "training texts are in the validation data too: its figures"
    " flatter",
    "empty_text": "texts are empty",
    "all_unknown_text": "texts have no token that the encoder knows",
    "truncated_text": "texts were cut",
    "rare_label": "labels have too few examples to validate",
    "label_only_in_validation": "labels are in the validation data only: they cannot be learned",
    "label_unknown_to_classifier": "labels are unknown to the classifier: their texts count as"
    " errors",
    "shared_threshold": "labels are too rare for a threshold of their own",
}
_FEW = 5


def issue(found: pb.DataIssue) -> str:
    """A sentence on something odd about the data."""
    from stillroom._protocol import enums
    from stillroom.v1 import classification_service_pb2 as pb

    kind = enums.word(pb.DataIssueKind, found.kind)
    said = f"note: {found.count:,} {_ISSUES.get(kind, kind.replace('_', ' '))}"
    listed = list(found.labels) or [f"example {place}" for place in found.examples]
    if listed:
        more = ", ..." if found.count > _FEW and len(listed) > _FEW else ""
        where = " of the validation data" if found.in_validation_data else ""
        said += f" ({', '.join(listed[:_FEW])}{more}{where})"
    return said


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TEXT else f"{line[: _TEXT - 3]}..."
