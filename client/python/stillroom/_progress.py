"""Progress for people, on standard error, or for a caller's function."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[int], None]
Progress = bool | Callable[[int, int | None], None]


@contextmanager
def reporter(progress: Progress, total: int | None, unit: str) -> Iterator[Report]:
    """Yields a function that takes how many ``unit`` are done, of ``total``.

    ``progress`` False ignores it, True draws a bar, a function is called with (done, total).
    """
    if callable(progress):
        call = progress
        yield lambda done: call(done, total)
    elif progress:
        with _bar(total, unit) as report:
            yield report
    else:
        yield lambda _: None


@contextmanager
def _bar(total: int | None, unit: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    counts: list[ProgressColumn] = [MofNCompleteColumn()]
    if unit == "bytes":
        counts = [DownloadColumn(), TransferSpeedColumn()]
    columns = [BarColumn(), *counts, TimeElapsedColumn(), TimeRemainingColumn()]
    with Progress(unit, *columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(unit, total=total)
        yield lambda done: bar.update(task, completed=done)
