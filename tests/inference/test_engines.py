"""The engines against the definition and each other, and the choice between them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.students import WORDS, naive_vector, write_student
from stillroom_registry.errors import DataLoss, FailedPrecondition, InvalidArgument
from stillroom_server.inference.compiled import MODULE
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.engines import gather
from stillroom_server.inference.engines.choose import ONNX_FILE, choose_engine
from stillroom_server.inference.engines.gather import CsrKernel, GatherEngine, numpy_sum_rows
from stillroom_server.inference.engines.onnx import OnnxRuntimeEngine, batches
from stillroom_server.inference.native import load_extension
from stillroom_server.inference.options import EmbedOptions
from stillroom_server.inference.student_files import StudentFiles
from stillroom_server.inference.verdicts import MemoryVerdicts

Kernel = Callable[..., None]
TEXTS = ["the card has not arrived", "", "漢字 the", "Ωμέγα", "x", " ".join(WORDS * 30)]


def exported(folder: Path, **student: object) -> Path:
    from stillroom_server.distillation.export.onnx_graph import export_onnx

    write_student(folder, **student)  # type: ignore[arg-type]
    export_onnx(folder)
    return folder


class Clock:
    """Each engine run takes so long as ``durations`` says, in turn."""

    def __init__(self, first: float, second: float) -> None:
        spans = itertools.chain(itertools.repeat(first, 9), itertools.repeat(second, 9))
        self._readings = self._run(spans)

    def _run(self, spans: Iterator[float]) -> Iterator[float]:
        now = 0.0
        for span in spans:
            yield now
            now += span
            yield now

    def __call__(self) -> float:
        return next(self._readings)


def kernels() -> list[Any]:
    scipy = CsrKernel(load_extension("scipy.sparse._sparsetools"))
    found = [pytest.param(numpy_sum_rows, id="numpy"), pytest.param(scipy, id="scipy")]
    with contextlib.suppress(ImportError):
        found.append(pytest.param(CsrKernel(load_extension(MODULE)), id="compiled"))
    return found


@pytest.mark.parametrize("kernel", kernels())
@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_kernels_sum_rows(kernel: Kernel, lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((50, 9)).astype(np.float32)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    ids = rng.integers(0, 50, offsets[-1]).astype(np.int32)
    out = np.zeros((len(lengths), 9), np.float32)
    if len(ids):
        kernel(ids, offsets, table, out)
    for row, (a, b) in zip(out, itertools.pairwise(offsets), strict=True):
        np.testing.assert_allclose(row, table[ids[a:b]].astype(np.float64).sum(0), atol=1e-4)


@pytest.mark.parametrize("kernel", kernels())
def test_kernels_on_more_tokens_than_their_buffers(kernel: Kernel) -> None:
    ids = np.tile(np.arange(10, dtype=np.int32), 20_000)
    table = np.eye(10, dtype=np.float32)
    out = np.zeros((3, 10), np.float32)
    kernel(ids, np.array([0, 7, 7, len(ids)]), table, out)
    assert out[0].tolist() == [1] * 7 + [0] * 3
    assert not out[1].any()
    assert out[2].tolist() == [19_999] * 7 + [20_000] * 3


@pytest.mark.parametrize("kernel", ["a sparse product", "numpy"])
def test_one_text_alone_is_pooled_to_the_same_bits(
    kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel == "numpy":
        monkeypatch.setattr(gather, "_choose_kernel", lambda: numpy_sum_rows)
    rng = np.random.default_rng(0)
    engine = GatherEngine(rng.standard_normal((97, 33)).astype(np.float32))
    for size in (0, 1, 2, 40, 70_000):
        ids = rng.integers(0, 97, size).astype(np.int32)
        expected = engine.pool(ids, np.array([0, size]))[0]
        one = engine.pool_one(ids)
        np.testing.assert_array_equal(one, expected)
        one += 1  # the caller's own
        np.testing.assert_array_equal(engine.pool_one(ids), expected)


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 300))
def test_batches_are_within_the_budget(lengths: list[int], budget: int) -> None:
    array = np.array(lengths, np.int64)
    rows = list(batches(array, budget))
    flat = [int(row) for part in rows for row in part]
    assert sorted(flat) == [row for row, length in enumerate(lengths) if length]
    for part in rows:
        assert len(part) == 1 or len(part) * array[part].max() <= budget


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("normalized", [True, False])
def test_onnxruntime_follows_the_definition(tmp_path: Path, dtype: str, normalized: bool) -> None:
    folder = exported(tmp_path, dtype=dtype, config={"normalize": normalized})
    embedder = StudentEmbedder.load(folder, "onnxruntime", "huggingface")
    assert embedder.info.engine == "onnxruntime"
    for options in (
        EmbedOptions(),
        EmbedOptions(dimensions=5, max_tokens=3),
        EmbedOptions(normalize=False),
    ):
        expected = [
            naive_vector(
                folder,
                text,
                normalize=options.normalize is not False,
                dimensions=options.dimensions,
                max_tokens=options.max_tokens or 512,
            )
            for text in TEXTS
        ]
        result = embedder.embed(TEXTS, options)
        np.testing.assert_allclose(result.vectors, expected, rtol=1e-4, atol=2e-5)
        assert [index for index, _ in result.warned()] == [1, 3]


def test_onnxruntime_splits_what_does_not_fit(tmp_path: Path) -> None:
    folder = exported(tmp_path)
    texts = ["the card " * n for n in (400, 1, 3, 200)] * 60
    both = [
        StudentEmbedder.load(folder, engine, "huggingface").embed(texts)
        for engine in ("onnxruntime", "gather")
    ]
    np.testing.assert_allclose(both[0].vectors, both[1].vectors, atol=1e-5)


def test_auto_takes_the_faster_of_equals(tmp_path: Path) -> None:
    files = StudentFiles.load(exported(tmp_path))
    fast = choose_engine(files, verdicts=MemoryVerdicts(), clock=Clock(0.006, 0.002))
    assert fast.engine.name == "gather"
    assert "3.0x as fast as onnxruntime" in fast.reason
    assert fast.reason.startswith("within ")


def test_auto_stays_with_onnxruntime_when_gather_is_slower(tmp_path: Path) -> None:
    files = StudentFiles.load(exported(tmp_path, seed=77))
    slow = choose_engine(files, verdicts=MemoryVerdicts(), clock=Clock(0.001, 0.002))
    assert slow.engine.name == "onnxruntime"
    assert "2.0x as slow" in slow.reason
    assert slow.unnormalized is not None
    assert slow.unnormalized.name == "gather"


def test_auto_takes_the_file_of_record_when_they_differ(tmp_path: Path) -> None:
    folder = exported(tmp_path, seed=1)
    write_student(folder, seed=2)  # the table changes under the graph
    embedder = StudentEmbedder.load(folder, tokenizer="huggingface")
    assert embedder.info.engine == "onnxruntime"
    assert "gather is not equal" in embedder.info.engine_reason
    with pytest.raises(FailedPrecondition) as caught:
        embedder.validate(EmbedOptions(normalize=False))
    assert caught.value.reason == "NORMALIZE_UNAVAILABLE"


def test_verdict_is_kept_by_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = StudentFiles.load(exported(tmp_path, seed=5))
    kept = MemoryVerdicts()
    digests = {ONNX_FILE: "sha256:a-test", "model.safetensors": "sha256:b-test"}
    first = choose_engine(files, verdicts=kept, digests=digests, clock=Clock(0.004, 0.001))

    def refuse(*_: object) -> None:
        raise AssertionError("onnxruntime was loaded")

    monkeypatch.setattr(OnnxRuntimeEngine, "__init__", refuse)
    again = choose_engine(files, verdicts=kept, digests=digests)
    assert (again.engine.name, again.reason) == (first.engine.name, first.reason)
    with pytest.raises(AssertionError):
        choose_engine(files, verdicts=kept, digests={**digests, ONNX_FILE: "sha256:c-test"})


def test_no_onnx_file_means_gather_and_says_so(folder: Path) -> None:
    assert "no onnx/model.onnx" in StudentEmbedder.load(folder).info.engine_reason
    with pytest.raises(FailedPrecondition) as caught:
        StudentEmbedder.load(folder, "onnxruntime")
    assert caught.value.reason == "ONNX_FILE_MISSING"
    with pytest.raises(InvalidArgument):
        StudentEmbedder.load(folder, "abacus")


def graph(inputs: Mapping[str, int], output: str, dimensions: int) -> bytes:
    """An ONNX file that answers zeros of (batch, dimensions), by these names."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceSum", [next(iter(inputs)), "axis"], ["sum"], keepdims=1),
        helper.make_node("Cast", ["sum"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "zeros"], [output]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "zeros",
            [
                helper.make_tensor_value_info(name, kind, ["b", "s"])
                for name, kind in inputs.items()
            ],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["b", dimensions])],
            [
                helper.make_tensor("zeros", TensorProto.FLOAT, [1, dimensions], [0.0] * dimensions),
                helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
            ],
        ),
        ir_version=8,
        opset_imports=[helper.make_opsetid("", 17)],
    )
    return bytes(model.SerializeToString())


INT64, INT32 = 7, 6
GOOD = {"input_ids": INT64, "attention_mask": INT64}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "cannot load"),
        (b"\x08\x08garbage", "cannot load"),
        (graph({"input_ids": INT64}, "sentence_embedding", 24), "its inputs"),
        (graph({**GOOD, "input_ids": INT32}, "sentence_embedding", 24), "its inputs"),
        (graph(GOOD, "pooled", 24), "no output"),
        (graph(GOOD, "sentence_embedding", 7), "7 dimensions"),
    ],
)
def test_a_broken_onnx_file(tmp_path: Path, content: bytes, problem: str) -> None:
    folder = write_student(tmp_path)
    (folder / "onnx").mkdir()
    (folder / ONNX_FILE).write_bytes(content)
    files = StudentFiles.load(folder)
    with pytest.raises(DataLoss) as caught:
        choose_engine(files, "onnxruntime")
    assert caught.value.reason == "ONNX_FILE_INVALID"
    assert problem in caught.value.message
    chosen = choose_engine(files, verdicts=MemoryVerdicts())
    assert chosen.engine.name == "gather"
    assert problem in chosen.reason


def test_a_graph_that_answers_nonsense_is_not_equal(tmp_path: Path) -> None:
    folder = write_student(tmp_path, seed=9)
    (folder / "onnx").mkdir()
    (folder / ONNX_FILE).write_bytes(graph(GOOD, "sentence_embedding", 24))
    chosen = choose_engine(StudentFiles.load(folder), verdicts=MemoryVerdicts())
    assert chosen.engine.name == "onnxruntime"
    assert "gather is not equal" in chosen.reason
