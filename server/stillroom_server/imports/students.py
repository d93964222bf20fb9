"""Makes an imported student servable: our layout, an ONNX graph that is proven, a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_registry.safe_files import check_path
from stillroom_server.distillation.export import parity
from stillroom_server.distillation.export.manifest import MANIFEST, reseal, write_manifest
from stillroom_server.distillation.export.onnx_graph import ONNX_FILE, export_onnx
from stillroom_server.distillation.export.reference import (
    load_tokenizer,
    read_tensors,
    unknown_id,
)
from stillroom_server.distillation.export.student_folder import write_student
from stillroom_server.distillation.teacher_files import read_optional_object
from stillroom_server.imports.recognize import Recognized
from stillroom_server.imports.selection import SkippedFile
from stillroom_server.inference.student_files import StudentFiles

PARITY_SEED = 20_241_017  # of the parity check; any will do, the same each time
_MOVED = ("model.safetensors", "tokenizer.json")


def complete_student(
    folder: Path,
    recognized: Recognized,
    origin: Mapping[str, Any],
    skipped: list[SkippedFile],
    on_run: Callable[[int], None],
) -> tuple[dict[str, Any], list[str]]:
    """Adds what a student of another house lacks, and checks it whole. Returns facts and notes.

    A student of the model2vec layout keeps its files; a StaticEmbedding of sentence-transformers is
    rewritten in that layout. An ONNX graph that came along stays if it computes the same. Raises
    InvalidArgument for files that contradict each other, FailedPrecondition(PARITY_FAILED).
    """
    notes: list[str] = []
    if recognized.layout == "sentence-transformers-static":
        notes += _rewrite_static(folder, recognized.static, origin)
    elif recognized.layout == "stillroom":
        verify_manifest(folder, {file.path for file in skipped})
    files = StudentFiles.load(folder, blame=InvalidArgument)
    report, note = _prove_onnx(folder, on_run)
    notes += note
    metrics = {"parity": report.as_dict()}
    if (folder / MANIFEST).exists():
        reseal(folder, metrics=metrics)
    else:
        write_manifest(folder, kind="student", lineage={"origin": origin}, metrics=metrics)
    facts = {
        "normalize": files.normalize,
        "max_tokens": files.config.get("max_length", files.max_tokens),
        "unknown_token": files.unk_id is not None,
        "prompts": sorted(files.prompts),
        "parity": report.as_dict(),
    }
    return facts, notes


def _prove_onnx(
    folder: Path, on_run: Callable[[int], None]
) -> tuple[parity.ParityReport, list[str]]:
    if (folder / ONNX_FILE).is_file():
        try:
            return parity.check(folder, seed=PARITY_SEED, on_run=on_run), []
        except FailedPrecondition:
            note = f"{ONNX_FILE} of the source computes something else and was exported anew"
            export_onnx(folder)
            return parity.check(folder, seed=PARITY_SEED, on_run=on_run), [note]
    export_onnx(folder)
    return parity.check(folder, seed=PARITY_SEED, on_run=on_run), []


def _rewrite_static(folder: Path, place: str, origin: Mapping[str, Any]) -> list[str]:
    """Turns a StaticEmbedding into the layout that both libraries and this server read."""
    base = folder / place
    tensors = read_tensors(base / "model.safetensors")
    # What model2vec saved under that library's modules keeps its tensors of these names.
    stored = tensors["embedding.weight"] if "embedding.weight" in tensors else tensors["embeddings"]
    element_type = str(stored.dtype)
    table = stored.astype(np.float32)
    if "embedding.weight" not in tensors:
        table = table if "mapping" not in tensors else table[tensors["mapping"]]
        if "weights" in tensors:
            table = table * tensors["weights"].astype(np.float32)[:, None]
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    normalize = any(str(module["type"]).endswith("Normalize") for module in modules)
    tokenizer_json = (base / "tokenizer.json").read_text(encoding="utf-8")
    truncation = json.loads(tokenizer_json).get("truncation") or {}
    settings = read_optional_object(folder / "config_sentence_transformers.json")
    prompts = {name: text for name, text in (settings.get("prompts") or {}).items() if text}
    unk_id = unknown_id(load_tokenizer(tokenizer_json))
    # A row of zeros counts for nothing as long as lengths do not matter.
    counts = unk_id is not None and bool(not normalize or table[unk_id].any())
    readme = folder / "README.md"
    card = readme.read_bytes() if readme.is_file() else None
    for name in _MOVED:
        (base / name).unlink()
    write_student(
        folder,
        table=table,
        tokenizer_json=tokenizer_json,
        element_type=element_type,
        normalize=normalize,
        max_tokens=truncation.get("max_length"),
        count_unknown=counts,
        config_extra={"prompts": prompts} if prompts else {},
        card={},
        lineage={"origin": origin},
    )
    if card is not None:
        readme.write_bytes(card)
    notes = ["rewritten from a StaticEmbedding, whose vectors stay as they were"]
    if counts:
        notes.append(
            "unknown words count, as in sentence-transformers; model2vec would leave them out"
        )
    return notes


def verify_manifest(folder: Path, skipped: set[str]) -> None:
    """A student of ours must be what its manifest says."""
    try:
        listed = dict(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidArgument(
            f"{MANIFEST} is damaged ({error}); fetch the model again",
            reason="FILE_CORRUPT",
            field="source",
        ) from error
    for name, digest in listed.items():
        check_path(name, "source")
        path = folder / name
        if name not in skipped and not (path.is_file() and _sha256(path) == digest):
            raise InvalidArgument(
                f"{name} is missing or differs from what {MANIFEST} says; fetch the model again",
                reason="MANIFEST_MISMATCH",
                field="source",
                metadata={"file": name},
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
