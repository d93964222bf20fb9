"""The onnxruntime engine: runs the student's exported onnx/model.onnx, the file of record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillroom_server.inference.engines.base import Float32, Ids, Offsets, Scale
from stillroom_server.inference.tokenizers.base import offsets_of_one

MAX_PADDED_TOKENS = 16_384
"""Of one run: with 256 dimensions the graph's gathered rows then take 16 MB at most."""

OUTPUT = "sentence_embedding"


class GraphError(Exception):
    """The file is no graph that this engine can serve; the text says why."""


class OnnxRuntimeEngine:
    """input_ids, attention_mask int64 (batch, seq) -> sentence_embedding float32 (batch, d)."""

    name = "onnxruntime"

    def __init__(self, file: Path, scale: Scale, dimensions: int) -> None:
        """Load ``file``, whose (batch, dimensions) vectors are of ``scale``. Raises GraphError."""
        self._session = open_session(file)
        stated = check_signature(self._session)
        if stated not in (None, dimensions):
            raise GraphError(f"it gives {stated} dimensions, the table {dimensions}")
        self.scale = scale
        self.dimensions = dimensions
        self.nbytes = sum(part.stat().st_size for part in file.parent.glob(file.name + "*"))

    def pool_one(self, ids: Ids) -> Float32:
        return self.pool(ids, offsets_of_one(len(ids))).reshape(-1)

    def pool(self, ids: Ids, offsets: Offsets) -> Float32:
        lengths = offsets[1:] - offsets[:-1]
        out = np.zeros((len(lengths), self.dimensions), np.float32)
        for rows in batches(lengths, MAX_PADDED_TOKENS):
            padded, mask = _pad(ids, offsets[rows], lengths[rows])
            inputs = {"input_ids": padded, "attention_mask": mask}
            (found,) = self._session.run([OUTPUT], inputs)
            if found.shape != (len(rows), self.dimensions):  # else numpy might broadcast it
                raise GraphError(f"it answered the shape {found.shape} for {len(rows)} texts")
            out[rows] = found
        return out


def batches(lengths: Offsets, budget: int) -> Iterator[npt.NDArray[np.int64]]:
    """Yield rows of similar length whose padded size is within ``budget``, or single longer ones.

    Empty texts are left out.
    """
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    while len(order):
        padded = np.arange(1, len(order) + 1) * lengths[order]  # grows: lengths are sorted
        size = max(1, int(np.searchsorted(padded, budget, side="right")))
        yield order[:size]
        order = order[size:]


def _pad(
    ids: Ids, starts: Offsets, lengths: Offsets
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    columns = np.arange(int(lengths.max()))
    mask = columns < lengths[:, None]
    # Padding reads some other id, which the mask takes out again.
    padded = ids[np.where(mask, starts[:, None] + columns, starts[:, None])]
    return padded.astype(np.int64), mask.astype(np.int64)


def open_session(file: Path) -> Any:
    """An onnxruntime session that computes on the threads of its callers alone.

    Data outside the file's folder are refused by onnxruntime itself. Raises GraphError.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One thread: requests run beside each other already, and no exported graph may depend on more.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # With changing shapes the pattern and the arena only ever grow.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as failure:  # its error classes derive from Exception directly
        raise GraphError(f"onnxruntime cannot load it: {failure}") from failure


def check_signature(session: Any) -> int | None:
    """The dimensions that the graph states, None where it leaves them open. Raises GraphError."""
    inputs = {node.name: node.type for node in session.get_inputs()}
    if inputs != {"input_ids": "tensor(int64)", "attention_mask": "tensor(int64)"}:
        raise GraphError(f"its inputs are {inputs}, not int64 input_ids and attention_mask")
    outputs = {node.name: node for node in session.get_outputs()}
    node = outputs.get(OUTPUT)
    if node is None or node.type != "tensor(float)" or len(node.shape) != 2:
        raise GraphError(f"it has no output {OUTPUT} of type float32 (batch, d)")
    return node.shape[1] if isinstance(node.shape[1], int) else None
