"""The compiled loops: there where they can be, alike scipy's, and refusing what would harm."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillroom_server.inference import compiled
from stillroom_server.inference.classifier import found_runs
from stillroom_server.inference.engines import gather
from stillroom_server.inference.engines.gather import CsrKernel, GatherEngine
from stillroom_server.inference.native import load_extension

SCIPY = "scipy.sparse._sparsetools"


def kernels() -> Any:
    try:
        return load_extension(compiled.MODULE)
    except ImportError:
        pytest.skip("not compiled here")


def test_it_is_compiled_where_a_compiler_is(tmp_path: Path) -> None:
    source = tmp_path / "empty.c"
    source.write_text("#include <Python.h>\n")
    command = ["cc", "-I", sysconfig.get_path("include"), "-c", str(source), "-o", "/dev/null"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no compiler for extensions of Python here")
    if sys.platform == "linux":
        assert load_extension(compiled.MODULE)


def test_without_it_scipy_serves_and_without_that_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(GatherEngine(np.eye(3, dtype=np.float32))._sum_rows, CsrKernel)
    missing = {compiled.MODULE}

    def load(name: str) -> Any:
        if name in missing:
            raise ImportError(name)
        return load_extension(name)

    for module in (gather, found_runs):
        monkeypatch.setattr(module, "load_extension", load)
    assert found_runs.find_runs.__wrapped__() is found_runs.numpy_runs
    kernel = GatherEngine(np.eye(3, dtype=np.float32))._sum_rows
    assert isinstance(kernel, CsrKernel)
    assert kernel.multiply is load_extension(SCIPY).csr_matvecs
    missing.add(SCIPY)
    assert GatherEngine(np.eye(3, dtype=np.float32))._sum_rows is gather.numpy_sum_rows


def test_what_computes_wrongly_does_not_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        @staticmethod
        def csr_matvecs(*_: object) -> None:
            """Adds nothing."""

        @staticmethod
        def find_runs(*_: object) -> int:
            return 0

    for module in (gather, found_runs):
        monkeypatch.setattr(module, "load_extension", lambda _: Wrong)
    assert found_runs.find_runs.__wrapped__() is found_runs.numpy_runs
    assert GatherEngine(np.eye(3, dtype=np.float32))._sum_rows is gather.numpy_sum_rows


@pytest.fixture(params=[4, 8, 16])
def lanes(request: pytest.FixtureRequest) -> Iterator[None]:
    """Vectors of no more floats than that, of those that this CPU has."""
    kernels().limit_lanes(request.param)
    yield
    kernels().limit_lanes(16)


@pytest.mark.usefixtures("lanes")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    columns=st.integers(0, 200) | st.sampled_from([255, 256, 257, 384]),
    lengths=st.lists(st.integers(0, 9), max_size=30),
    seed=st.integers(0, 99),
)
def test_sums_have_the_bits_of_scipy(columns: int, lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    rows = rng.integers(0, 11, ends[-1]).astype(np.int32)
    factors = rng.standard_normal(len(rows)).astype(np.float32)
    table = rng.standard_normal((11, columns)).astype(np.float32)
    before = rng.standard_normal((len(lengths), columns)).astype(np.float32)
    found = []
    for module in (kernels(), load_extension(SCIPY)):
        out = before.copy()
        sizes = (len(lengths), 11, columns)
        module.csr_matvecs(*sizes, ends, rows, factors, table.reshape(-1), out.reshape(-1))
        found.append(out)
    np.testing.assert_array_equal(*found)


def int32(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int32)


SUMS = {
    "texts": 2,
    "table_rows": 3,
    "columns": 2,
    "ends": int32(0, 1, 2),
    "rows": int32(0, 2),
    "factors": np.ones(2, np.float32),
    "table": np.ones(6, np.float32),
    "out": np.zeros(4, np.float32),
}
RUNS = {
    "ids": int32(1, 2, 3),
    "offsets": np.array([0, 3]),
    "slots": np.zeros(4, np.int64),
    "ends": int32(0, 0),
    "rows": np.zeros(4, np.int32),
    "factors": np.zeros(4, np.float32),
    "least": 2,
    "most": 2,
}
BAD_SUMS = [
    ("rows", int32(0, 3)),
    ("rows", int32(-1, 0)),
    ("rows", int32(0)),
    ("rows", np.zeros(2, np.int64)),
    ("rows", np.zeros(4, np.int32)[::2]),
    ("rows", [0, 2]),
    ("ends", int32(0, 2, 1)),
    ("ends", int32(-1, 1, 2)),
    ("ends", int32(0, 1, 3)),
    ("ends", int32(0, 2)),
    ("factors", np.ones(1, np.float32)),
    ("factors", np.ones(2)),
    ("table", np.ones(5, np.float32)),
    ("out", np.zeros(3, np.float32)),
    ("out", b"0" * 16),
    ("texts", -1),
    ("texts", 1),
    ("columns", 1 << 31),
    ("columns", "2"),
    ("table_rows", 1 << 70),
]
BAD_RUNS = [
    ("offsets", np.array([0, 4])),
    ("offsets", np.array([1, 3])),
    ("offsets", np.array([0, 2, 1, 3])),
    ("offsets", np.zeros(0, np.int64)),
    ("offsets", int32(0, 3)),
    ("slots", np.zeros(3, np.int64)),
    ("slots", np.zeros(0, np.int64)),
    ("slots", np.zeros(4)),
    ("ends", int32(0)),
    ("rows", np.zeros(3, np.int32)),
    ("factors", np.zeros(3, np.float32)),
    ("least", 0),
    ("least", 3),
    ("most", 1),
    ("most", 3),
    ("most", -1),
]


@pytest.mark.parametrize("arguments", [(), (-1,), ("8",), (4, 8)])
def test_a_limit_that_makes_no_sense_is_refused(arguments: tuple[object, ...]) -> None:
    with pytest.raises((ValueError, TypeError)):
        kernels().limit_lanes(*arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "bad"),
    [("csr_matvecs", SUMS, {}), ("find_runs", RUNS, {})]
    + [("csr_matvecs", SUMS, {field: value}) for field, value in BAD_SUMS]
    + [("find_runs", RUNS, {field: value}) for field, value in BAD_RUNS],
)
def test_what_would_read_or_write_elsewhere_is_refused(
    name: str, arguments: dict[str, Any], bad: dict[str, Any]
) -> None:
    call: Callable[..., object] = getattr(kernels(), name)
    given = {**arguments, **bad}.values()
    if not bad:
        call(*given)
        return
    arrays = [value for value in given if isinstance(value, np.ndarray)]
    held = [sys.getrefcount(array) for array in arrays]
    with pytest.raises((ValueError, TypeError, OverflowError, BufferError)):
        call(*given)
    assert [sys.getrefcount(array) for array in arrays] == held
    with pytest.raises(TypeError):
        call(*list(given)[:-1])
