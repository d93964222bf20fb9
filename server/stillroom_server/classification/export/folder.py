"""A classifier's folder: the encoder as it was tuned, the head, the ONNX file, the card.

classifier.json, classifier.safetensors    see ``inference.classifier.files``
onnx/classifier.onnx                       input_ids, attention_mask -> probabilities
onnx/head.onnx                             on a teacher: sentence_embedding -> probabilities
config.json, tokenizer.json, ...           the encoder, unless it is a teacher
README.md, report.html, stillroom.json     what it is, how good it is, where it comes from
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.classification.export.card import write_card
from stillroom_server.classification.export.encoder_copy import copy_static, copy_transformer
from stillroom_server.classification.export.onnx_graph import export_onnx
from stillroom_server.distillation.export.manifest import write_json, write_manifest
from stillroom_server.inference.classifier.files import (
    DESCRIPTION_FILE,
    TENSORS_FILE,
    EncoderKind,
    describe,
    tensors_of,
)
from stillroom_server.inference.classifier.head import HeadArrays

REPORT_FILE = "report.html"


def write_classifier(
    folder: Path,
    *,
    encoder_folder: Path,
    encoder_kind: str,
    head: HeadArrays,
    description: Mapping[str, Any],
    table: NDArray[np.float32] | None = None,
    weights: NDArray[np.float32] | None = None,
    element_type: str | None = None,
    lineage: Mapping[str, Any] | None = None,
    seal: bool = True,
) -> None:
    """Writes what computes: the encoder, the head, and the ONNX file. ``parity.check`` proves it,
    ``finish`` adds what is for people. ``seal`` False leaves stillroom.json to ``finish``: its
    digests take as long as all the rest of a small classifier.

    ``description`` is the JSON of the ClassifierDescription; ``encoder_kind`` one of static,
    transformer and teacher, whose folder is then not read. ``table``, ``weights`` and
    ``element_type`` (float32, float16, int8) are of a tuned static student, as ``copy_static``
    takes them. The same arguments give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = EncoderKind(encoder_kind)
    if kind is EncoderKind.STATIC:
        copy_static(encoder_folder, folder, table=table, weights=weights, element_type=element_type)
    elif kind is EncoderKind.TRANSFORMER:
        copy_transformer(encoder_folder, folder)
    write_head(folder, kind, head, description)
    export_onnx(folder)
    if seal:
        write_manifest(
            folder,
            kind="classifier",
            lineage=lineage or {"encoder": description.get("encoder_version", "")},
            options=description.get("options"),
        )


def write_head(
    folder: Path, encoder_kind: str, head: HeadArrays, description: Mapping[str, Any]
) -> None:
    """Writes classifier.json and classifier.safetensors alone."""
    from safetensors.numpy import save_file

    content = describe(description, EncoderKind(encoder_kind), head)
    write_json(folder / DESCRIPTION_FILE, content)
    save_file(tensors_of(head), folder / TENSORS_FILE)


def finish(
    folder: Path,
    *,
    card: Mapping[str, Any] | None = None,
    report_markdown: str = "",
    report_html: str | None = None,
    lineage: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Adds README.md, report.html and the final stillroom.json to what ``write_classifier`` wrote.

    ``card`` is as ``card.write_card`` takes it; ``report_markdown`` goes into the card as it is;
    ``metrics`` stand in stillroom.json.
    """
    from stillroom_server.inference.classifier.files import ClassifierFiles

    files = ClassifierFiles.load(folder)
    if report_html is not None:
        (folder / REPORT_FILE).write_text(report_html, encoding="utf-8")
    write_card(folder, files, card or {}, report_markdown=report_markdown)
    write_manifest(
        folder,
        kind="classifier",
        lineage=lineage or {"encoder": files.description.encoder_version},
        options=files.stated.get("options"),
        metrics=metrics,
    )
