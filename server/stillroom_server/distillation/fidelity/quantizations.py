"""What storing a static student's table in fewer bytes costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stillroom_server.distillation.export.quantize import ELEMENT_TYPES, quantize
from stillroom_server.distillation.fidelity.pairs import Pairs, similarities
from stillroom_server.distillation.fidelity.ranks import spearman
from stillroom_server.distillation.fidelity.vectors import Float32, row_cosines, unit
from stillroom_server.inference.engines.gather import GatherEngine
from stillroom_server.inference.student_files import StudentFiles
from stillroom_server.inference.tokenizers.base import Ids, Offsets, limit
from stillroom_server.inference.tokenizers.choose import choose_tokenizer

_BLOCK = 256  # texts tokenized at a time


def losses(
    folder: Path,
    table: Float32 | None,
    texts: Sequence[str],
    pairs: Pairs,
    teacher_similarities: Float32,
    between: Callable[[], None],
) -> list[dict[str, Any]]:
    """The ``quantizations`` of a report for the float32 ``table`` (vocabulary, d) of the student in
    ``folder`` (None: what is stored there), each element type as ``export.quantize`` stores it, its
    rows summed by an engine that serves.

    ``bytes`` are those of the tensors. A type that the values do not fit into is left out.
    """
    files = StudentFiles.load(folder)
    table = files.effective_table() if table is None else table.astype(np.float32)
    if files.unk_id is not None:
        table[files.unk_id] = 0.0
    ids, offsets = _tokens(files, texts, between)
    exact = unit(GatherEngine(table).pool(ids, offsets))
    found = []
    for element_type in ELEMENT_TYPES:
        between()
        if element_type == "float16" and float(np.abs(table).max()) > np.finfo(np.float16).max:
            continue
        stored, scales = quantize(table, element_type)
        size = stored.nbytes
        restored: Float32 = stored.astype(np.float32)
        if scales is not None:
            restored *= scales[:, None]
            size += scales.nbytes
        between()
        vectors = unit(GatherEngine(restored).pool(ids, offsets))
        correlation = spearman(teacher_similarities, similarities(vectors, pairs, between))
        found.append(
            {
                "element_type": element_type,
                "mean_cosine": _mean_cosine(exact, vectors),
                "bytes": int(size),
                "similarity_spearman": correlation,
            }
        )
    return with_changes(found)


def with_changes(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """``found`` with ``spearman_change``, its ``similarity_spearman`` less that of its float32;
    None where either is not known."""
    whole = next((q for q in found if q["element_type"] == "float32"), {})
    exact = whole.get("similarity_spearman")
    changed = []
    for entry in found:
        own = entry.get("similarity_spearman")
        change = None if own is None or exact is None else own - exact
        changed.append({**entry, "spearman_change": change})
    return changed


def _tokens(
    files: StudentFiles, texts: Sequence[str], between: Callable[[], None]
) -> tuple[Ids, Offsets]:
    tokenizer = choose_tokenizer(files.tokenizer_json).engine
    ids, lengths = [np.zeros(0, np.int32)], [np.zeros(1, np.int64)]
    for start in range(0, len(texts), _BLOCK):
        flat, offsets = tokenizer.encode(texts[start : start + _BLOCK])
        batch = limit(flat, offsets, files.max_tokens)
        ids.append(batch.ids)
        lengths.append(batch.lengths)
        between()
    return np.concatenate(ids), np.cumsum(np.concatenate(lengths))


def _mean_cosine(exact: Float32, vectors: Float32) -> float | None:
    """Over the texts that have a vector in ``exact``."""
    known = exact.any(axis=1)
    return float(row_cosines(exact, vectors)[known].mean()) if known.any() else None
