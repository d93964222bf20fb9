"""The encoder inside a classifier's folder: a student's files as they are, or as it was tuned."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import Internal
from stillroom_server.distillation.export.manifest import MANIFEST, write_json
from stillroom_server.distillation.export.quantize import ELEMENT_TYPES, quantize
from stillroom_server.distillation.export.reference import StudentArrays, read_tensors

TENSORS = "model.safetensors"
CONFIG = "config.json"
_STATIC_FILES = (CONFIG, "tokenizer.json", "modules.json", TENSORS)
# What is about the student itself, not needed to embed with it.
_ABOUT = ("README.md", MANIFEST, "report.html", "fidelity.json")
_PICTURES = (".png", ".svg", ".html")


def copy_static(
    source: Path,
    folder: Path,
    *,
    table: NDArray[np.float32] | None = None,
    weights: NDArray[np.float32] | None = None,
    element_type: str | None = None,
) -> None:
    """Copies the static student in ``source``, with what was tuned in place of its own.

    ``table`` float32 (vocabulary, d) has a row a token id, mapping and weights of the student
    applied, and replaces them all; ``weights`` float32 (vocabulary,) multiply its rows, or without
    a table the student's own. Only a tuned table is stored as ``element_type``, by default as the
    student's was. Files that nothing changed are the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in _STATIC_FILES:
        if (source / name).is_file() and not (name == TENSORS and _tuned(table, weights)):
            shutil.copyfile(source / name, folder / name)
    if table is not None:
        _write_table(source, folder, table, weights, element_type)
    elif weights is not None:
        _write_weights(source, folder, weights)
    prompts = _prompts(source)
    if prompts:
        config = _config(folder)
        write_json(folder / CONFIG, {**config, "prompts": {**config.get("prompts", {}), **prompts}})


def copy_transformer(source: Path, folder: Path) -> None:
    """Copies all that a transformer student needs to embed."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source)
        if path.is_dir() or name.as_posix() in _ABOUT or name.suffix in _PICTURES:
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _tuned(table: object, weights: object) -> bool:
    return table is not None or weights is not None


def _write_table(
    source: Path,
    folder: Path,
    table: NDArray[np.float32],
    weights: NDArray[np.float32] | None,
    element_type: str | None,
) -> None:
    from safetensors.numpy import save_file

    own = StudentArrays.read(source)
    if table.ndim != 2 or len(table) != own.vocabulary_size:
        raise Internal(
            f"the tuned table has the shape {table.shape}, not a row for each of "
            f"{own.vocabulary_size} tokens",
            reason="TABLE_INVALID",
        )
    rows = table if weights is None else table * weights[:, None]
    if own.unk_id is not None:
        rows = rows.copy()
        rows[own.unk_id] = 0.0
    chosen = element_type or own.element_type
    if chosen not in ELEMENT_TYPES:
        raise Internal(f"no table is stored as {chosen!r}", reason="TABLE_INVALID")
    stored, scales = quantize(np.asarray(rows, np.float32), chosen)
    tensors: dict[str, NDArray[Any]] = {"embeddings": stored}
    if scales is not None:
        tensors["weights"] = scales
    save_file(tensors, folder / TENSORS)
    config = _config(folder)
    config.pop("vocabulary_quantization", None)
    write_json(
        folder / CONFIG,
        {**config, "hidden_dim": int(table.shape[1]), "embedding_dtype": chosen},
    )


def _write_weights(source: Path, folder: Path, weights: NDArray[np.float32]) -> None:
    from safetensors.numpy import save_file

    tensors = read_tensors(source / TENSORS)
    own = tensors.get("weights")
    vocabulary = len(tensors.get("mapping", tensors["embeddings"]))
    if weights.shape != (vocabulary,):
        raise Internal(
            f"the tuned weights have the shape {weights.shape}, not ({vocabulary},)",
            reason="TABLE_INVALID",
        )
    product = weights if own is None else own.astype(np.float32) * weights
    save_file({**tensors, "weights": np.asarray(product, np.float32)}, folder / TENSORS)


def _config(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return content


def _prompts(source: Path) -> Mapping[str, str]:
    """Those of the manifest, which the classifier's own replaces."""
    path = source / MANIFEST
    if not path.is_file():
        return {}
    return json.loads(path.read_text(encoding="utf-8")).get("prompts") or {}
