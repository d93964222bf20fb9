"""Whether files are a sound model as they are: what an import checks, without what it mends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillroom_registry.errors import FailedPrecondition, Internal
from stillroom_server.distillation.export.manifest import MANIFEST
from stillroom_server.distillation.export.onnx_graph import ONNX_FILE
from stillroom_server.imports.peers import refused
from stillroom_server.imports.recognize import (
    OWN_CLASSIFIER,
    TRANSFORMER_STUDENT,
    Recognized,
    recognize,
)
from stillroom_server.imports.tokenizers import teacher_max_tokens

_SEALED = ("stillroom", TRANSFORMER_STUDENT, OWN_CLASSIFIER)


@dataclass(frozen=True)
class Proven:
    """``facts`` are what the files say, by the keys of a version's metadata; ``encoder`` is the
    version that a classifier reads vectors of, "" for one that needs none."""

    kind: str
    facts: dict[str, Any]
    encoder: str = ""


def prove(folder: Path, check_cancelled: Callable[[], None]) -> Proven:
    """Raises what an import of the folder raises, and FailedPrecondition (COPY_REFUSED) where it
    would leave something out or write something anew. Nothing in the folder changes."""
    recognized = recognize(folder)
    _refuse_unused(folder, recognized)
    if recognized.kind == "teacher":
        return Proven("teacher", {**recognized.facts, "max_tokens": teacher_max_tokens(folder)})
    if recognized.layout not in _SEALED:
        raise refused(f"it has no {MANIFEST}, which says what its files are", file=MANIFEST)
    if recognized.kind == "classifier":
        return _classifier(folder, recognized, check_cancelled)
    if recognized.layout == TRANSFORMER_STUDENT:
        from stillroom_server.imports.transformer_students import prove_student

        prove_student(folder, [], check_cancelled, seal=False)
        return Proven("student", {**recognized.facts, "max_tokens": teacher_max_tokens(folder)})
    return _static(folder, recognized, check_cancelled)


def _static(folder: Path, recognized: Recognized, check_cancelled: Callable[[], None]) -> Proven:
    from stillroom_registry.errors import InvalidArgument
    from stillroom_server.distillation.export import parity
    from stillroom_server.imports.students import PARITY_SEED, verify_manifest
    from stillroom_server.inference.student_files import StudentFiles

    verify_manifest(folder, set())
    files = StudentFiles.load(folder, blame=InvalidArgument)
    if not (folder / ONNX_FILE).is_file():
        raise refused(f"it has no {ONNX_FILE}", file=ONNX_FILE)
    parity.check(folder, seed=PARITY_SEED, on_run=lambda _: check_cancelled())
    limit = files.config.get("max_length", files.max_tokens)
    return Proven("student", {**recognized.facts, "max_tokens": limit})


def _classifier(
    folder: Path, recognized: Recognized, check_cancelled: Callable[[], None]
) -> Proven:
    from stillroom_registry.errors import InvalidArgument
    from stillroom_server.classification.export.parity import check
    from stillroom_server.imports.students import verify_manifest
    from stillroom_server.inference.classifier.classifier import Classifier

    verify_manifest(folder, set())
    classifier = Classifier.load(folder, "huggingface", blame=InvalidArgument)
    try:
        check(folder, on_run=lambda _: check_cancelled())
    except Internal as error:  # a graph of another house is its maker's fault
        raise FailedPrecondition(
            error.message, reason=error.reason, field="source", metadata=error.metadata
        ) from error
    facts = {
        **recognized.facts,
        "label_count": len(classifier.labels),
        "max_tokens": classifier.max_tokens,
    }
    encoder = classifier.encoder_version if classifier.needs_teacher else ""
    return Proven("classifier", facts, encoder)


def _refuse_unused(folder: Path, recognized: Recognized) -> None:
    """What an import would remove: weights that nothing names, and graphs that nothing runs."""
    for path in sorted(folder.rglob("*.safetensors")):
        name = path.relative_to(folder).as_posix()
        if name not in recognized.weights:
            raise refused(f"nothing names the weights {name}", file=name)
    if recognized.kind == "teacher":
        for path in sorted(folder.rglob("*.onnx*")):
            name = path.relative_to(folder).as_posix()
            raise refused(f"{name} is a graph, and teachers are not run from one", file=name)
