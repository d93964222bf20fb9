"""The host alone, by numpy: nothing here needs a model."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from stillroom_server.cost.calibration.probes.stopwatch import Allowance, Stopwatch
from stillroom_server.cost.calibration.rates import Line, fit

_MEGABYTE = 1 << 20
Ready = Callable[[], object]


def probe(folder: Path, watch: Stopwatch, allowed: Allowance) -> Iterator[Line]:
    """The lines of ``rates.HOST`` but for ``process.start``. ``folder`` is on the disk that data
    are written to; what is written there is removed."""
    yield fit("python", watch.points((2, 20), loops, allowed.share(0.1)))
    sizes = watch.points((256, 768), _product, allowed.share(0.3))
    yield fit("matmul", [(2.0 * size**3 / 1e9, seconds) for size, seconds in sizes])
    sizes = watch.points((16 * _MEGABYTE, 48 * _MEGABYTE), _copy, allowed.share(0.4))
    yield fit("memory", [(2.0 * size, seconds) for size, seconds in sizes])
    yield fit("hash", watch.points((_MEGABYTE, 4 * _MEGABYTE), _hash, allowed.share(0.4)))
    waiting = Stopwatch(time.perf_counter)
    with tempfile.TemporaryDirectory(dir=folder, prefix="calibration-") as place:
        file = Path(place) / "written"
        points = waiting.points(
            (_MEGABYTE, 8 * _MEGABYTE), lambda size: _write(file, size), allowed.share(0.8)
        )
    yield fit("write", points)


def loops(thousands: int) -> Ready:
    """A loop of so many thousand turns of plain Python, and a small array now and then."""
    row = np.arange(32, dtype=np.float32)

    def loop() -> None:
        seen: dict[int, int] = {}
        for turn in range(1000 * thousands):
            seen[turn & 63] = seen.get(turn & 7, 0) + 1
            if not turn & 15:
                row.sum()

    return loop


def _product(size: int) -> Ready:
    matrix = np.full((size, size), 0.5, dtype=np.float32)
    out = np.empty_like(matrix)
    return lambda: np.matmul(matrix, matrix, out=out)


def _copy(size: int) -> Ready:
    source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
    return lambda: np.copyto(target, source)


def _hash(size: int) -> Ready:
    data = bytes(size)
    return lambda: hashlib.sha256(data).digest()


def _write(file: Path, size: int) -> Ready:
    data = os.urandom(size)

    def write() -> None:
        with file.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    return write
