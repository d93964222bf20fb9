"""What a folder is: a teacher, a student, or neither. Reads JSON and safetensors headers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from stillroom_registry.errors import DataLoss, FailedPrecondition, InvalidArgument, StillroomError
from stillroom_registry.safe_files import unsafe_name
from stillroom_server.distillation.teacher_files import inside, read_json, read_optional_object
from stillroom_server.imports.headers import TensorInfo, read_header
from stillroom_server.imports.refusals import no_fast_tokenizer, pickle_refused
from stillroom_server.imports.selection import SkippedFile, holds_pickle
from stillroom_server.imports.teacher_facts import recognize_teacher

Kind = Literal["teacher", "student", "classifier"]
Layout = Literal[
    "model2vec",
    "model2vec-classifier",
    "sentence-transformers-static",
    "stillroom",
    "stillroom-classifier",
    "stillroom-transformer",
    "transformers",
    "sentence-transformers",
]
TRANSFORMER_STUDENT: Layout = "stillroom-transformer"
MODEL2VEC_CLASSIFIER: Layout = "model2vec-classifier"
OWN_CLASSIFIER: Layout = "stillroom-classifier"
HEAD_FILE = "head.safetensors"  # of model2vec's pipelines since 0.10
_OLD_PIPELINE = "pipeline.skops"
TABLE_TYPES = {"F32": "float32", "F16": "float16", "I8": "int8"}
_STATIC = "StaticEmbedding"
_PACKAGE = "sentence_transformers"


@dataclass(frozen=True)
class Recognized:
    """``facts`` are JSON; ``weights`` the safetensors files in use, relative with '/'; ``static``
    the folder of the embedding in layout sentence-transformers-static; ``notes`` for people."""

    kind: Kind
    layout: Layout
    facts: Mapping[str, Any]
    weights: frozenset[str]
    static: str = ""
    notes: tuple[str, ...] = field(default=())


def recognize(folder: Path, skipped: Sequence[SkippedFile] = ()) -> Recognized:
    """Finds out what ``folder`` holds; ``skipped`` are files of the source that are not in it.

    Raises InvalidArgument (NOT_A_MODEL, WEIGHTS_CORRUPT, FILE_CORRUPT, PATH_ESCAPES) and
    FailedPrecondition (PICKLE_REFUSED, NO_FAST_TOKENIZER, REMOTE_CODE_REFUSED, UNSUPPORTED_MODULE,
    UNSUPPORTED_POOLING, UNSUPPORTED_ELEMENT_TYPE, UNSUPPORTED_KIND), all with the field ``source``.
    """
    try:
        return _recognize(folder, skipped)
    except DataLoss as error:  # a damaged file is the caller's here, not our store's
        raise InvalidArgument(
            error.message, reason=error.reason, field="source", metadata=error.metadata
        ) from error
    except StillroomError as error:
        error.field = "source"
        raise


def _recognize(folder: Path, skipped: Sequence[SkippedFile]) -> Recognized:
    config = read_optional_object(folder / "config.json")
    manifest = read_optional_object(folder / "stillroom.json")
    if manifest and manifest.get("kind") not in ("student", "teacher", "classifier"):
        raise FailedPrecondition(
            f"stillroom.json says that this is a {str(manifest.get('kind'))[:50]!r}; teachers, "
            "students and classifiers can be imported",
            reason="UNSUPPORTED_KIND",
        )
    if manifest.get("kind") == "classifier":
        return _own_classifier(folder)
    if _is_model2vec(folder, config):
        student = _student(folder, "model2vec", "embeddings", "", skipped)
        if manifest:
            return replace(student, layout="stillroom")
        return _with_head(folder, config, student, skipped)
    if (place := _static_place(folder)) is not None:
        return _student(folder, "sentence-transformers-static", "embedding.weight", place, skipped)
    layout: Layout = (
        "sentence-transformers" if (folder / "modules.json").is_file() else "transformers"
    )
    facts, weights, notes = recognize_teacher(folder, skipped)
    # Nothing but its manifest tells a transformer that is a student from a teacher.
    if manifest.get("kind") == "student":
        return Recognized("student", TRANSFORMER_STUDENT, facts, weights, notes=notes)
    return Recognized("teacher", layout, facts, weights, notes=notes)


def _is_model2vec(folder: Path, config: Mapping[str, Any]) -> bool:
    """By what config.json says; one that was not distilled says nothing, but for its tensors."""
    if config.get("model_type") == "model2vec":
        return True
    if "StaticModel" in (config.get("architectures") or ()):
        return True
    path = folder / "model.safetensors"
    silent = bool(config) and "model_type" not in config
    return silent and path.is_file() and "embeddings" in read_header(path)


def _with_head(
    folder: Path,
    config: Mapping[str, Any],
    student: Recognized,
    skipped: Sequence[SkippedFile],
) -> Recognized:
    """A classifier if the folder holds the head of one, else the student."""
    if not (folder / HEAD_FILE).is_file():
        if not any(file.path == _OLD_PIPELINE for file in skipped):
            return student
        note = (
            f"{_OLD_PIPELINE} is a classifier of an older model2vec, in a format that is not read: "
            "this is its student alone; load and save it with model2vec 0.10 to import it whole"
        )
        return replace(student, notes=(*student.notes, note))
    header = read_header(folder / HEAD_FILE)
    stated = config.get("head_config")
    activation = stated.get("activation") if isinstance(stated, Mapping) else None
    if activation not in ("softmax", "sigmoid"):
        note = f"{HEAD_FILE} is the head of no classifier and was left out"
        return replace(student, notes=(*student.notes, note))
    weights = sum(info.elements for info in header.values())
    facts = {**student.facts, "parameters": student.facts["parameters"] + weights}
    return replace(
        student,
        kind="classifier",
        layout=MODEL2VEC_CLASSIFIER,
        facts=facts,
        weights=student.weights | {HEAD_FILE},
    )


def _own_classifier(folder: Path) -> Recognized:
    """What ``classification.export`` wrote; its manifest vouches for the files."""
    kind = read_json(folder / "classifier.json").get("encoder_kind")
    weights = {
        path.relative_to(folder).as_posix(): read_header(path)
        for path in folder.rglob("*.safetensors")
    }
    elements = (info.elements for header in weights.values() for info in header.values())
    facts = {"encoder_kind": str(kind)[:50], "parameters": sum(elements)}
    return Recognized("classifier", OWN_CLASSIFIER, facts, frozenset(weights))


def _static_place(folder: Path) -> str | None:
    """Where modules.json puts a StaticEmbedding; None if it does not begin with one."""
    path = folder / "modules.json"
    if not path.is_file():
        return None
    listed = read_json(path)
    try:
        found = [(str(item["type"]), str(item["path"])) for item in listed]
    except (TypeError, KeyError) as error:
        raise InvalidArgument(
            f"modules.json lists no modules ({error})", reason="FILE_CORRUPT"
        ) from error
    if not _is(found[0][0] if found else "", _STATIC):
        return None
    if other := next((name for name, _ in found[1:] if not _is(name, "Normalize")), None):
        raise FailedPrecondition(
            f"the module {other[:100]!r} behind a StaticEmbedding is not supported; only Normalize "
            "is",
            reason="UNSUPPORTED_MODULE",
            metadata={"module": other[:100]},
        )
    inside(folder, found[0][1])
    return "" if found[0][1] in ("", ".") else str(PurePosixPath(found[0][1]))


def _is(name: str, kind: str) -> bool:
    """Whether a type in modules.json is sentence-transformers' own ``kind``, of any version."""
    return name.startswith(f"{_PACKAGE}.") and name.endswith(f".{kind}")


def _student(
    folder: Path, layout: Layout, table: str, place: str, skipped: Sequence[SkippedFile]
) -> Recognized:
    base = folder / place
    path = base / "model.safetensors"
    if not path.is_file():
        if holds_pickle(skipped, place) or any(unsafe_name(p.name) for p in base.glob("*")):
            raise pickle_refused()
        raise InvalidArgument(
            "the folder has no model.safetensors; save the model with safetensors",
            reason="NOT_A_MODEL",
        )
    if not (base / "tokenizer.json").is_file():
        raise no_fast_tokenizer()
    header = read_header(path)
    rows = header.get(table) or header.get("embeddings")
    if rows is None or len(rows.shape) != 2 or 0 in rows.shape:
        raise InvalidArgument(
            f"model.safetensors has no table of rows named {table!r}", reason="NOT_A_MODEL"
        )
    if rows.dtype not in TABLE_TYPES:
        raise FailedPrecondition(
            f"the student's table is {rows.dtype}; save it as float32, float16 or int8",
            reason="UNSUPPORTED_ELEMENT_TYPE",
            metadata={"element_type": rows.dtype},
        )
    weights = {PurePosixPath(place, "model.safetensors").as_posix()}
    return Recognized("student", layout, _student_facts(header, rows), frozenset(weights), place)


def _student_facts(header: Mapping[str, TensorInfo], rows: TensorInfo) -> dict[str, Any]:
    mapping = header.get("mapping")
    return {
        "architecture": "StaticModel",
        "dimensions": rows.shape[1],
        "rows": rows.shape[0],
        "vocabulary": rows.shape[0] if mapping is None else mapping.elements,
        "element_type": TABLE_TYPES[rows.dtype],
        "parameters": rows.elements,
    }
