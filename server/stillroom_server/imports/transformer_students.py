"""Takes in a transformer student of this server's making, such as one pulled from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.distillation.export.manifest import reseal
from stillroom_server.distillation.export.onnx_graph import ONNX_FILE
from stillroom_server.distillation.export.parity import FIXED_TEXTS
from stillroom_server.distillation.teacher import Teacher
from stillroom_server.imports.selection import SkippedFile
from stillroom_server.imports.students import verify_manifest

# Sums over many layers: far above what float32 rounds, far below what another model gives.
MIN_COSINE = 0.9999


def prove_student(
    folder: Path,
    skipped: Sequence[SkippedFile],
    check_cancelled: Callable[[], None],
    *,
    seal: bool = True,
) -> dict[str, Any]:
    """Holds the files to their manifest, and the graph, which is what serves, to the weights.

    Returns the figures, which go into the manifest too, unless ``seal`` is off. Raises
    InvalidArgument (MANIFEST_MISMATCH, ONNX_MISSING) and FailedPrecondition(PARITY_FAILED), all
    with the field ``source``.
    """
    verify_manifest(folder, {file.path for file in skipped})
    if not (folder / ONNX_FILE).is_file():
        raise InvalidArgument(
            f"the student has no {ONNX_FILE}, from which it is served; fetch all of its files",
            reason="ONNX_MISSING",
            field="source",
        )
    check_cancelled()
    teacher = Teacher.load(folder, "cpu", "float32")
    rows = [row for row in teacher.tokenizer.encode(FIXED_TEXTS) if row]
    check_cancelled()
    expected = teacher.encode_ids(rows)
    check_cancelled()
    found = _run(folder, rows)
    cosine, error = _compare(found, expected)
    if not cosine >= MIN_COSINE:
        raise FailedPrecondition(
            f"{ONNX_FILE} computes something else than the weights (cosine {cosine:.6f}, at least "
            f"{MIN_COSINE} is needed); fetch the model again",
            reason="PARITY_FAILED",
            field="source",
            metadata={"min_cosine": f"{cosine:.9g}"},
        )
    figures = {"max_abs_error": error, "min_cosine": cosine, "texts": len(rows), "runs": 2}
    if seal:
        reseal(folder, metrics={"parity": figures})
    return figures


def _run(folder: Path, rows: Sequence[Sequence[int]]) -> NDArray[np.float64] | None:
    """The graph's vectors of all rows, each with others and padding around it; None if it fails."""
    import onnxruntime

    order = np.argsort([len(row) for row in rows], kind="stable")
    vectors = []
    try:
        session = onnxruntime.InferenceSession(
            str(folder / ONNX_FILE), providers=["CPUExecutionProvider"]
        )
        for part in np.array_split(order, 2):
            width = max(len(rows[i]) for i in part)
            ids = np.zeros((len(part), width), dtype=np.int64)
            mask = np.zeros_like(ids)
            for at, i in enumerate(part):
                ids[at, : len(rows[i])] = rows[i]
                mask[at, : len(rows[i])] = 1
            feeds = {"input_ids": ids, "attention_mask": mask}
            vectors.append(session.run(["sentence_embedding"], feeds)[0])
    except Exception:  # onnxruntime's own errors share no base, and all mean the same here
        return None
    found = np.empty((len(rows), vectors[0].shape[-1]))
    found[order] = np.concatenate(vectors)
    return found


def _compare(
    found: NDArray[np.float64] | None, expected: NDArray[np.float32]
) -> tuple[float, float]:
    """The least cosine and the largest error, in units of the vector's length; lengths that differ
    by more than the cosine may are no match either."""
    if found is None or found.shape != expected.shape or not np.isfinite(found).all():
        return -1.0, float("inf")
    exact = expected.astype(np.float64)
    lengths = np.maximum(np.linalg.norm(exact, axis=1), 1e-12)
    ratios = np.linalg.norm(found, axis=1) / lengths
    cosines = np.einsum("nd,nd->n", found, exact) / np.maximum(lengths**2 * ratios, 1e-12)
    error = float((np.abs(found - exact) / lengths[:, None]).max())
    if np.abs(ratios - 1).max() > 0.01:
        return -1.0, error
    return float(cosines.min()), error
