"""The exported graph, run under onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from distillation.export.tiny import add_tensors, write_tiny

from stillroom_server.distillation.export.onnx_graph import OPSET, export_onnx
from stillroom_server.distillation.export.reference import StudentArrays


def session(folder: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # the errors below are provoked
    return onnxruntime.InferenceSession(
        str(folder / "onnx/model.onnx"), options, providers=["CPUExecutionProvider"]
    )


def run(folder: Path, ids: object, mask: object) -> np.ndarray:
    feeds = {
        "input_ids": np.array(ids, dtype=np.int64),
        "attention_mask": np.array(mask, dtype=np.int64),
    }
    return session(folder).run(["sentence_embedding"], feeds)[0]


@pytest.mark.parametrize("element_type", ["float32", "float16", "int8"])
def test_shape_types_and_operators(tmp_path: Path, element_type: str) -> None:
    write_tiny(tmp_path, element_type=element_type)
    model = onnx.load(export_onnx(tmp_path))
    onnx.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert all(node.domain == "" for node in model.graph.node)
    assert not {node.op_type for node in model.graph.node} & {"ScatterND", "ScatterElements"}
    table = next(i for i in model.graph.initializer if i.name == "table")
    assert onnx.helper.tensor_dtype_to_np_dtype(table.data_type) == element_type
    inputs = {i.name: (i.type, i.shape) for i in session(tmp_path).get_inputs()}
    assert inputs == {
        "input_ids": ("tensor(int64)", ["batch", "sequence"]),
        "attention_mask": ("tensor(int64)", ["batch", "sequence"]),
    }
    (output,) = session(tmp_path).get_outputs()
    assert (output.name, output.type, output.shape) == (
        "sentence_embedding",
        "tensor(float)",
        ["batch", 24],
    )


def test_same_bytes_every_time_and_the_manifest_knows(tmp_path: Path) -> None:
    write_tiny(tmp_path / "a")
    write_tiny(tmp_path / "b")
    first, second = (export_onnx(tmp_path / n).read_bytes() for n in "ab")
    assert first == second
    manifest = json.loads((tmp_path / "a/stillroom.json").read_text())
    assert "onnx/model.onnx" in manifest["files"]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("element_type", ["float32", "float16", "int8"])
def test_mask_unknowns_and_padding(tmp_path: Path, element_type: str, normalize: bool) -> None:
    write_tiny(tmp_path, element_type=element_type, normalize=normalize)
    export_onnx(tmp_path)
    ids = [[7, 1, 8, 9], [-100, 999_999, 7, 8], [1, 1, 1, 1], [5, 6, 7, 8], [9, 9, 9, 9]]
    mask = [[1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0], [5, 1, 1, 1]]
    found = run(tmp_path, ids, mask)
    expected = StudentArrays.read(tmp_path).vectors([[7, 8], [7, 8], [], [], [9, 9, 9, 9]])
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=1e-5)
    assert not found[2:4].any()


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_empty_batches(tmp_path: Path, shape: tuple[int, int]) -> None:
    write_tiny(tmp_path)
    export_onnx(tmp_path)
    found = run(tmp_path, np.zeros(shape), np.ones(shape))
    assert found.shape == (shape[0], 24)
    assert not found.any()


@pytest.mark.parametrize("element_type", ["float32", "int8"])
@pytest.mark.parametrize("stranger", [-1, -(2**63), 2**62, "size"])
def test_an_id_outside_the_vocabulary_is_an_error(
    tmp_path: Path, stranger: int | str, element_type: str
) -> None:
    table = write_tiny(tmp_path, element_type=element_type)
    export_onnx(tmp_path)
    number = len(table) if stranger == "size" else int(stranger)
    with pytest.raises(Exception, match="out of data bounds"):
        run(tmp_path, [[5, number]], [[1, 1]])


def quantized_vocabulary(folder: Path, element_type: str) -> StudentArrays:
    """A student as model2vec's vocabulary quantization leaves it: few rows, mapping, weights."""
    table = write_tiny(folder, element_type=element_type)
    rng = np.random.default_rng(3)
    rows = (rng.standard_normal((9, 24)) * 40).astype(element_type)
    add_tensors(
        folder,
        embeddings=rows,
        mapping=rng.integers(0, 9, len(table)).astype(np.int64),
        weights=rng.random(len(table)),  # float64, as scikit-learn leaves them
    )
    return StudentArrays.read(folder)


@pytest.mark.parametrize("element_type", ["float32", "float16", "int8"])
def test_imported_students_with_mapping_and_weights(tmp_path: Path, element_type: str) -> None:
    student = quantized_vocabulary(tmp_path, element_type)
    export_onnx(tmp_path)
    rows = [[5, 6, 1, 20], [30, 31, 32, 1], [2, 2, 9, 8]]
    found = run(tmp_path, rows, np.ones((3, 4)))
    np.testing.assert_allclose(found, student.vectors(rows), atol=1e-6)


def test_large_tables_live_beside_the_graph(tmp_path: Path) -> None:
    write_tiny(tmp_path, dimensions=4096)
    student = StudentArrays.read(tmp_path)
    for _ in range(2):  # the second export must replace, not append
        path = export_onnx(tmp_path, inline_limit=1000)
    data = path.with_name("model.onnx_data")
    assert student.table.nbytes <= data.stat().st_size < 2 * student.table.nbytes
    assert path.stat().st_size < 100_000
    found = run(tmp_path, [[5, 6]], [[1, 1]])
    np.testing.assert_allclose(found, student.vectors([[5, 6]]), atol=1e-6)
