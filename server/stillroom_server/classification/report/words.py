"""A report in words and rows of a table, for the page and the card alike.

Nothing that a clock measured is among them: a version's files must come out the same again. What
stands here is not escaped. Protobuf's JSON leaves out what is 0 and not optional: so is it read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
Rows = list[tuple[str, ...]]
_MOST_NAMES = 10
_ISSUES = {
    "DUPLICATE_TEXT": "texts that occur several times with the same labels",
    "CONFLICTING_LABELS": "texts that occur with different labels",
    "TRAINING_TEXT_IN_VALIDATION": "training texts in the validation data, whose figures flatter",
    "EMPTY_TEXT": "empty texts",
    "ALL_UNKNOWN_TEXT": "texts of which the encoder knows no token",
    "TRUNCATED_TEXT": "texts that were cut",
    "RARE_LABEL": "labels with too few examples to validate",
    "LABEL_ONLY_IN_VALIDATION": "labels that only the validation data have; they count as errors",
    "LABEL_UNKNOWN_TO_CLASSIFIER": "labels that the classifier does not have; they count as errors",
    "SHARED_THRESHOLD": "labels too rare for a threshold of their own",
}


def number(value: object) -> float | None:
    """Protobuf's JSON writes 64-bit integers as texts. None for what is no finite number."""
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def whole(value: object) -> int:
    return int(number(value) or 0)


def count(value: object) -> str:
    return f"{whole(value):,}"


def share(value: object) -> str:
    """0.9137 -> 91.4 %; empty when unset."""
    found = number(value)
    return "" if found is None else f"{found:.1%}".replace("%", " %")


def figure(value: object, form: str = ".4f") -> str:
    found = number(value)
    return "" if found is None else format(found, form)


def multi_label(report: Json) -> bool:
    return report.get("task") == "CLASSIFICATION_TASK_MULTI_LABEL"


def items(values: Json | None, key: str) -> list[Json]:
    return [item for item in _listed((values or {}).get(key)) if isinstance(item, Mapping)]


def _listed(value: object) -> Sequence[object]:
    """A JSON list; empty for what is none."""
    return value if isinstance(value, list | tuple) else ()


def measured(report: Json, data: Json | None) -> str:
    """What the figures were measured on."""
    texts = count(report.get("example_count"))
    match (data or {}).get("validation_source"):
        case "VALIDATION_SOURCE_HELD_OUT":
            where = "held out of the training data"
        case "VALIDATION_SOURCE_GIVEN":
            where = "given for validation"
        case "VALIDATION_SOURCE_FOLDS":
            folds = count((data or {}).get("folds"))
            where = f"of {folds} folds, each by a model that was trained on the others"
        case _:
            where = "given for evaluation"
    return f"Measured on {texts} texts {where}."


def headline(report: Json) -> Rows:
    """The figures to see first: (figure, what it is)."""
    calibration = report.get("calibration") or {}
    return [
        (value, label)
        for value, label in (
            (
                share(report.get("accuracy", 0)),
                "all labels right" if multi_label(report) else "accuracy",
            ),
            (figure(report.get("macro_f1", 0)), "macro F1"),
            (figure(report.get("weighted_f1", 0)), "weighted F1"),
            (figure(report.get("micro_f1", 0)), "micro F1"),
            (figure(report.get("log_loss")), "log loss"),
            (figure(calibration.get("expected_calibration_error", 0)), "calibration error"),
        )
        if value
    ]


def calibration(report: Json) -> Rows:
    found = report.get("calibration") or {}
    rows = [
        ("Expected calibration error", figure(found.get("expected_calibration_error", 0))),
        ("Before calibration", figure(found.get("uncalibrated_error"))),
        ("Largest error of a bin", figure(found.get("maximum_calibration_error", 0))),
        ("Brier score", figure(found.get("brier_score", 0))),
    ]
    return [row for row in rows if row[1]]


def flattered(report: Json) -> str:
    """What to say of a temperature that was fitted on the data measured; empty for others."""
    if not (report.get("calibration") or {}).get("fitted_here"):
        return ""
    return "The temperature was fitted on these very texts, so the calibration errors flatter."


def abstention(report: Json) -> str:
    found = report.get("abstention") or {}
    threshold = number(found.get("threshold")) or 0.0
    answered = share(found.get("coverage") or 0)
    said = f"Below a confidence of {threshold:.4g} it abstains: " if threshold else ""
    said += f"{answered} of the texts are answered"
    right = share(found.get("accuracy"))
    return said + (f", {right} of them rightly." if right else ".")


LABEL_HEAD = ("Label", "Texts", "Precision", "Recall", "F1", "Average precision")


def labels(entries: Sequence[Json], *, thresholds: bool) -> Rows:
    """Rows under LABEL_HEAD and, with ``thresholds``, one more."""
    return [
        (
            str(entry.get("label", "")),
            count(entry.get("support")),
            *(figure(entry.get(key)) for key in ("precision", "recall", "f1", "average_precision")),
            *((figure(entry.get("threshold")),) if thresholds else ()),
        )
        for entry in entries
    ]


def worst_first(report: Json) -> list[Json]:
    """The LabelReports that have an F1, by rising F1, of equals the more frequent first."""
    entries = [entry for entry in items(report, "labels") if entry.get("f1") is not None]
    return sorted(entries, key=lambda entry: (number(entry["f1"]), -whole(entry.get("support"))))


def pair(entry: Json) -> tuple[str, str, str, str]:
    """Of a ConfusedPair: the label, the one taken for it, how often, as a share."""
    return (
        str(entry.get("true_label", "")),
        str(entry.get("given_label", "")),
        count(entry.get("count")),
        share(entry.get("share") or 0),
    )


def data(facts: Json | None) -> Rows:
    if not facts:
        return []
    rows: Rows = [("Examples read", count(facts.get("example_count")))]
    for label, key in (("Trained on", "training_count"), ("Validated on", "validation_count")):
        if whole(facts.get(key)):
            rows.append((label, count(facts[key])))
    for label, key in (("Digest", "digest"), ("Digest of the validation", "validation_digest")):
        if facts.get(key):
            rows.append((label, str(facts[key])))
    return rows


def issues(facts: Json | None) -> Iterator[str]:
    """What was odd about the data, a sentence each."""
    for issue in items(facts, "issues"):
        kind = str(issue.get("kind", "")).removeprefix("DATA_ISSUE_KIND_")
        said = _ISSUES.get(kind, kind.replace("_", " ").lower())
        names = [str(name) for name in issue.get("labels") or ()]
        places = [str(place) for place in issue.get("examples") or ()]
        where = " of the validation data" if issue.get("in_validation_data") else ""
        found = f"{count(issue.get('count'))} {said}"
        if shown := names or places:
            more = " and more" if whole(issue.get("count")) > len(shown[:_MOST_NAMES]) else ""
            of = "" if names else f"examples{where} "
            found += f": {of}{', '.join(shown[:_MOST_NAMES])}{more}"
        yield found + "."


def options(values: object, path: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of an options object: (dotted name, value)."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from options(value, f"{path}.{name}" if path else str(name))
    elif isinstance(values, list | tuple):
        yield path, ", ".join(map(str, values))
    else:
        yield path, str(values).lower() if isinstance(values, bool) else str(values)


def candidates(training: Json | None) -> Rows:
    """What was tried: (how, accuracy, macro F1, log loss, whether it was chosen). How: the options
    in which the candidates differ."""
    tried = items(training, "candidates")
    leaves = [dict(options(entry.get("options") or {})) for entry in tried]
    names = list(dict.fromkeys(name for each in leaves for name in each))
    differing = [name for name in names if len({each.get(name) for each in leaves}) > 1]
    return [
        (
            ", ".join(f"{name}: {own[name]}" for name in differing if name in own) or "the options",
            share(entry.get("accuracy") or 0),
            figure(entry.get("macro_f1") or 0),
            figure(entry.get("log_loss") or 0),
            "chosen" if entry.get("chosen") else "",
        )
        for entry, own in zip(tried, leaves, strict=True)
    ]
