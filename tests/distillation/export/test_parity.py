"""The check that stands between an exported graph and the registry: it must let the right graph
through, and stop each kind of wrong one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from distillation.export.tiny import TOKENIZERS, write_tiny
from onnx import TensorProto, helper, numpy_helper

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.export import onnx_graph, parity
from stillroom_server.distillation.export.reference import StudentArrays


@pytest.mark.parametrize("family", TOKENIZERS)
@pytest.mark.parametrize("element_type", ["float32", "float16", "int8"])
def test_passes_every_family_and_element_type(
    tmp_path: Path, family: str, element_type: str
) -> None:
    write_tiny(tmp_path, family=family, element_type=element_type)
    onnx_graph.export_onnx(tmp_path)
    report = parity.check(tmp_path, seed=1, runs=26)
    assert report.max_abs_error < 2e-6
    assert report.min_cosine > 1 - 1e-9
    assert report.texts > 150


def test_runs_and_figures(tmp_path: Path) -> None:
    write_tiny(tmp_path, normalize=False)
    onnx_graph.export_onnx(tmp_path)
    counted: list[int] = []
    report = parity.check(tmp_path, seed=1, on_run=counted.append)
    assert counted == list(range(1, 201))
    assert report.runs == 200
    assert set(report.as_dict()) == {"max_abs_error", "min_cosine", "texts", "runs"}


def test_a_callback_can_stop_it(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    onnx_graph.export_onnx(tmp_path)

    class Stop(Exception):
        pass

    def stop(run: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        parity.check(tmp_path, seed=1, on_run=stop)


def another_unknown(student: StudentArrays) -> StudentArrays:
    return replace(student, unk_id=None, table=np.where(student.table == 0, 1, student.table))


def a_wrong_row(student: StudentArrays) -> StudentArrays:
    table = student.table.copy()
    table[[20, 21]] = table[[21, 20]]
    return replace(student, table=table)


def a_lost_scale(student: StudentArrays) -> StudentArrays:
    return replace(student, weights=np.ones(student.vocabulary_size, dtype=np.float32))


def not_normalized(student: StudentArrays) -> StudentArrays:
    return replace(student, normalize=False)


def another_width(student: StudentArrays) -> StudentArrays:
    return replace(student, table=student.table[:, :-1])


@pytest.mark.parametrize(
    "fault", [another_unknown, a_wrong_row, a_lost_scale, not_normalized, another_width]
)
def test_stops_a_wrong_graph(
    tmp_path: Path, fault: Callable[[StudentArrays], StudentArrays]
) -> None:
    write_tiny(tmp_path, element_type="int8")
    onnx_graph.export_onnx(tmp_path, arrays=fault(StudentArrays.read(tmp_path)))
    with pytest.raises(FailedPrecondition) as caught:
        parity.check(tmp_path, seed=1, runs=26)
    assert caught.value.reason == "PARITY_FAILED"
    assert caught.value.metadata["runs"] == "26"


def test_stops_a_graph_that_counts_unknowns(tmp_path: Path) -> None:
    """Without normalization a counted unknown shortens the mean, though its row is zeros."""
    write_tiny(tmp_path, normalize=False)
    student = replace(StudentArrays.read(tmp_path), unk_id=None)
    onnx_graph.export_onnx(tmp_path, arrays=student)
    with pytest.raises(FailedPrecondition):
        parity.check(tmp_path, seed=1, runs=26)


@pytest.mark.parametrize("content", [b"", b"not a graph"])
def test_stops_a_file_that_is_no_graph(tmp_path: Path, content: bytes) -> None:
    write_tiny(tmp_path)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_bytes(content)
    with pytest.raises(FailedPrecondition) as caught:
        parity.check(tmp_path, seed=1)
    assert caught.value.reason == "PARITY_FAILED"


def test_stops_a_missing_file(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    with pytest.raises(FailedPrecondition) as caught:
        parity.check(tmp_path, seed=1)
    assert caught.value.reason == "PARITY_FAILED"


def racing_graph(student: StudentArrays) -> onnx.ModelProto:
    """The right mathematics by ScatterND(add), which loses additions under more than one thread."""
    d = student.dimensions
    nodes = [
        helper.make_node("Cast", ["attention_mask"], ["present"], to=TensorProto.BOOL),
        helper.make_node("Equal", ["input_ids", "unk"], ["is_unk"]),
        helper.make_node("Not", ["is_unk"], ["is_word"]),
        helper.make_node("And", ["present", "is_word"], ["known"]),
        helper.make_node("Cast", ["known"], ["counted"], to=TensorProto.FLOAT),
        helper.make_node("NonZero", ["known"], ["where"]),
        helper.make_node("Gather", ["where", "zero"], ["rows"], axis=0),
        helper.make_node("Unsqueeze", ["rows", "axis_1"], ["targets"]),
        helper.make_node("Transpose", ["where"], ["places"], perm=[1, 0]),
        helper.make_node("GatherND", ["input_ids", "places"], ["ids"]),
        helper.make_node("Gather", ["table", "ids"], ["vectors"], axis=0),
        helper.make_node("Shape", ["input_ids"], ["shape"], start=0, end=1),
        helper.make_node("Concat", ["shape", "width"], ["out_shape"], axis=0),
        helper.make_node("ConstantOfShape", ["out_shape"], ["empty"]),
        helper.make_node("ScatterND", ["empty", "targets", "vectors"], ["sum"], reduction="add"),
        helper.make_node("ReduceSum", ["counted", "axis_1"], ["count"], keepdims=1),
        helper.make_node("Max", ["count", "one"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["mean"]),
        helper.make_node("ReduceL2", ["mean"], ["norm"], axes=[1], keepdims=1),
        helper.make_node("Max", ["norm", "floor"], ["length"]),
        helper.make_node("Div", ["mean", "length"], ["sentence_embedding"]),
    ]
    constants = {
        "table": student.table,
        "unk": np.int64(student.unk_id or 0),
        "zero": np.int64(0),
        "axis_1": np.array([1], dtype=np.int64),
        "width": np.array([d], dtype=np.int64),
        "one": np.float32(1),
        "floor": np.float32(1e-12),
    }
    graph = helper.make_graph(
        nodes,
        "racing",
        [
            helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "s"])
            for n in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("sentence_embedding", TensorProto.FLOAT, ["b", d])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def save(model: onnx.ModelProto, folder: Path) -> None:
    (folder / "onnx").mkdir(exist_ok=True)
    onnx.save(model, folder / "onnx/model.onnx")


def test_stops_a_racing_graph(tmp_path: Path) -> None:
    """A race is a matter of chance: on an idle machine the first check sees it, on one whose cores
    are all taken a check may not. Five give even that one no excuse."""
    write_tiny(tmp_path, dimensions=256)
    save(racing_graph(StudentArrays.read(tmp_path)), tmp_path)

    def five_checks() -> None:
        for seed in range(5):
            parity.check(tmp_path, seed=seed)

    with pytest.raises(FailedPrecondition) as caught:
        five_checks()
    assert caught.value.reason == "PARITY_FAILED"
    assert float(caught.value.metadata["max_abs_error"]) > parity.MAX_ERROR


def test_the_racing_graph_is_right_but_for_its_races(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So what the test above catches is the race, not another fault."""
    import onnxruntime

    write_tiny(tmp_path, dimensions=256)
    save(racing_graph(StudentArrays.read(tmp_path)), tmp_path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, providers: real(path, options, providers=providers),
    )
    parity.check(tmp_path, seed=1, runs=50)
