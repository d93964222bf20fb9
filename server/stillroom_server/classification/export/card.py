"""README.md of a classifier: the model card, with metadata as the Hub reads it. Every text in it is
escaped, but for the section that comes ready made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillroom_server.distillation.export.card_text import escape, table
from stillroom_server.inference.classifier.files import ClassifierFiles, EncoderKind
from stillroom_server.inference.classifier.head import Task

CARD = "README.md"
TAGS = ("text-classification", "onnx", "stillroom")
_MOST_LABELS = 200
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PORTABLE = (
    "from stillroom.portable import PortableClassifier",
    "",
    'classifier = PortableClassifier.load("path/to/this/folder")',
    'classifier.predict(["a text"])',
)


def write_card(
    folder: Path,
    files: ClassifierFiles,
    card: Mapping[str, Any],
    *,
    report_markdown: str = "",
) -> None:
    """Writes README.md.

    ``card`` may hold ``title``, ``description``, ``base_model`` (its Hub id goes into the metadata;
    any other name only into the text), ``language``, ``license`` and ``tags``. ``report_markdown``
    is a section that is Markdown already: whoever made it escaped its texts.
    """
    from huggingface_hub import ModelCardData

    base = card.get("base_model")
    data = ModelCardData(
        library_name="stillroom",
        pipeline_tag="text-classification",
        tags=list(dict.fromkeys((*TAGS, *map(str, card.get("tags", ()))))),
        base_model=base if isinstance(base, str) and _HUB_ID.fullmatch(base) else None,
        language=card.get("language"),
        license=card.get("license"),
        # No dataset names, no results block: the Hub would check those against its own lists.
    )
    lines = [f"# {escape(card.get('title') or 'A text classifier')}", ""]
    lines += [escape(card.get("description") or _first_sentence(files)), ""]
    if base or files.description.encoder_version:
        lines += [f"Trained on {escape(base or files.description.encoder_version)}.", ""]
    lines += table(("Property", ""), list(_facts(folder, files).items()))
    lines += ["## Labels", "", *_labels(files), ""]
    lines += ["## Use", "", *_use(files), ""]
    text = f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines).rstrip() + "\n"
    if report_markdown:
        text += "\n" + report_markdown.strip() + "\n"
    (folder / CARD).write_text(text, encoding="utf-8")


def _first_sentence(files: ClassifierFiles) -> str:
    if files.description.task is Task.MULTI_LABEL:
        return "A text classifier: each text gets any number of labels."
    return "A text classifier: each text gets one label."


def _facts(folder: Path, files: ClassifierFiles) -> dict[str, object]:
    about = files.description
    ngrams = files.head.ngrams
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    widths = [layer[1].shape[0] for layer in files.head.layers[:-1]]
    return {
        "Labels": len(about.labels),
        "Encoder": about.encoder_version or "unknown",
        "Dimensions": about.dimensions,
        "Head": f"hidden layers of {', '.join(map(str, widths))}" if widths else "linear",
        "N-grams": (
            f"{ngrams.features:,} features of {ngrams.min_n} to {ngrams.max_n} tokens"
            if ngrams
            else "none"
        ),
        "Longest text": f"{about.max_tokens:,} tokens",
        "Temperature": f"{about.temperature:.4g}",
        "Abstains below": f"{about.abstention_threshold:.4g}",
        "Size of the weights": f"{weights / 1e6:.1f} MB",
    }


def _labels(files: ClassifierFiles) -> list[str]:
    labels = files.description.labels
    lines = [f"{number}. {escape(label)}" for number, label in enumerate(labels[:_MOST_LABELS], 1)]
    more = len(labels) - _MOST_LABELS
    return [*lines, "", f"And {more:,} more, in classifier.json."] if more > 0 else lines


def _use(files: ClassifierFiles) -> list[str]:
    if files.encoder is EncoderKind.STATIC:
        said = "With `pip install stillroom[portable]`, which needs NumPy alone to compute:"
        return [said, "", "```python", *_PORTABLE, "```", "", _ONNX]
    if files.encoder is EncoderKind.TRANSFORMER:
        return [_ONNX]
    return [
        "The file `onnx/head.onnx` takes `sentence_embedding`, the encoder's float32 vectors, and "
        "gives `probabilities`."
    ]


_ONNX = (
    "The file `onnx/classifier.onnx` takes `input_ids` and `attention_mask`, int64 of the shape "
    "(batch, sequence), and gives `probabilities`, float32 of the shape (batch, labels)."
)
