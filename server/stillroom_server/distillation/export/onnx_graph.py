"""onnx/model.onnx of a static student: standard operators, any runtime, any number of threads.

The graph, for ids (b, s) and attention mask (b, s)::

    known  = mask != 0 and ids != unk                             (b, s)
    factor = known * weights[ids]                                 (b, s)
    rows   = float32(table[mapping[ids]])                         (b, s, d)
    mean   = (factor @ rows) / max(sum(known), 1)                 (b, d)
    output = mean / max(|mean|, 1e-12)     if the student normalizes

A padded gather and a product, rather than a scatter of flat ids: ScatterND with a reduction races
in onnxruntime as soon as it has two threads (its issues 18048 and 23396). The cast comes after the
gather, so the file and the memory stay as small as the stored type; scales go to the mask side of
the product, which is d times smaller than the rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.export.manifest import MANIFEST, reseal
from stillroom_server.distillation.export.reference import StudentArrays

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

ONNX_FILE = "onnx/model.onnx"
# ReduceSum takes its axes as an input from 13 on; 17 and IR 8 are read by every onnxruntime since
# 1.12.
OPSET = 17
IR_VERSION = 8
# A protobuf message ends at 2 GiB; beyond this, tables live in a file beside the graph.
INLINE_LIMIT = 1_900_000_000
_NORM_FLOOR = 1e-12


def export_onnx(
    folder: Path, *, arrays: StudentArrays | None = None, inline_limit: int = INLINE_LIMIT
) -> Path:
    """Writes onnx/model.onnx beside the student in ``folder`` and returns its path.

    Takes ``input_ids`` and ``attention_mask``, both int64 (batch, sequence), and gives
    ``sentence_embedding`` float32 (batch, d). Masked positions may hold any id; an id outside the
    vocabulary elsewhere is an error at run time, a negative one too. An existing stillroom.json
    gets the new file's digest. Raises what ``StudentArrays.read`` raises.
    """
    import onnx

    student = arrays or StudentArrays.read(folder)
    model = build(student)
    path = folder / ONNX_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name("model.onnx_data")
    data.unlink(missing_ok=True)  # onnx would append to it
    if student.table.nbytes > inline_limit:
        onnx.save_model(
            model, str(path), save_as_external_data=True, location=data.name, size_threshold=1 << 20
        )
        onnx.checker.check_model(str(path), full_check=True)
    else:
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString(deterministic=True))
    if (folder / MANIFEST).exists():
        reseal(folder)
    return path


def build(student: StudentArrays) -> ModelProto:
    """The graph for a student; the same arrays give the same bytes."""
    from onnx import TensorProto, helper

    parts = _Parts()
    parts.constant("table", student.table)
    parts.constant("zero_i", np.int64(0))
    parts.constant("beyond", np.int64(student.vocabulary_size))
    parts.constant("axis_1", np.array([1], dtype=np.int64))

    # Which tokens count, and ids that are safe to gather by: padding may be anything, and a
    # negative id must fail like any other stranger rather than count from the end of the table.
    parts.add("Cast", ["attention_mask"], "present", to=TensorProto.BOOL)
    parts.add("Where", ["present", "input_ids", "zero_i"], "given")
    parts.add("Less", ["given", "zero_i"], "negative")
    parts.add("Where", ["negative", "beyond", "given"], "ids")
    known = "present"
    if student.unk_id is not None:
        parts.constant("unk", np.int64(student.unk_id))
        parts.add("Equal", ["ids", "unk"], "is_unk")
        parts.add("Not", ["is_unk"], "is_word")
        parts.add("And", ["present", "is_word"], "known")
        known = "known"
    parts.add("Cast", [known], "counted", to=TensorProto.FLOAT)

    factor, rows = "counted", "ids"
    if student.weights is not None and np.any(student.weights != 1):
        parts.constant("weights", student.weights)
        parts.add("Gather", ["weights", "ids"], "weight", axis=0)
        parts.add("Mul", ["counted", "weight"], "factor")
        factor = "factor"
    if student.mapping is not None:
        parts.constant("mapping", student.mapping)
        parts.add("Gather", ["mapping", "ids"], "rows", axis=0)
        rows = "rows"
    parts.add("Gather", ["table", rows], "stored", axis=0)
    vectors = "stored"
    if student.table.dtype != np.float32:
        parts.add("Cast", ["stored"], "vectors", to=TensorProto.FLOAT)
        vectors = "vectors"

    result = "mean" if student.normalize else "sentence_embedding"
    parts.constant("one", np.float32(1.0))
    parts.add("Unsqueeze", [factor, "axis_1"], "factor_row")
    parts.add("MatMul", ["factor_row", vectors], "sum_row")
    parts.add("Squeeze", ["sum_row", "axis_1"], "sum")
    parts.add("ReduceSum", ["counted", "axis_1"], "count", keepdims=1)
    parts.add("Max", ["count", "one"], "divisor")
    parts.add("Div", ["sum", "divisor"], result)
    if student.normalize:
        parts.constant("floor", np.float32(_NORM_FLOOR))
        parts.add("Mul", ["mean", "mean"], "squares")
        parts.add("ReduceSum", ["squares", "axis_1"], "square", keepdims=1)
        parts.add("Sqrt", ["square"], "norm")
        parts.add("Max", ["norm", "floor"], "length")
        parts.add("Div", ["mean", "length"], "sentence_embedding")

    axes = ["batch", "sequence"]
    graph = helper.make_graph(
        parts.nodes,
        "static_student",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, axes)
            for name in ("input_ids", "attention_mask")
        ],
        [
            helper.make_tensor_value_info(
                "sentence_embedding", TensorProto.FLOAT, ["batch", student.dimensions]
            )
        ],
        parts.initializers,
    )
    model = helper.make_model(
        graph,
        producer_name="stillroom",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(
        model,
        {
            "normalize": str(student.normalize).lower(),
            "max_tokens": str(student.max_tokens or ""),
            "unknown_token_id": "" if student.unk_id is None else str(student.unk_id),
        },
    )
    return model


class _Parts:
    """Collects a graph's nodes and constants, each named for what it makes."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[Any] = []

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> None:
        from onnx import numpy_helper

        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
