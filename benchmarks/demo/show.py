"""How the demo looks: on a terminal with bars that move, elsewhere a line a step."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from stillroom import OperationSnapshot

Show = Callable[[str, float, str], None]
"""Takes what is being done, the share of it that is done (0 to 1), and a detail."""

_PLAIN_WIDTH = 100


def console() -> Console:
    """Standard output; wide enough for the tables where it is no terminal."""
    return Console(
        width=None if sys.stdout.isatty() else _PLAIN_WIDTH,
        markup=False,
        emoji=False,
        highlight=False,
    )


def heading(out: Console, number: int, count: int, text: str) -> None:
    """Begins a step."""
    out.print()
    out.print(f"[{number}/{count}] {text}", style="bold cyan")


def fact(out: Console, text: str) -> None:
    """One thing that was found."""
    out.print(f"  {text}")


@contextmanager
def progress(out: Console) -> Iterator[Show]:
    """A bar on a terminal; elsewhere a line when what is being done changes."""
    if not out.is_terminal:
        last = ""

        def say(label: str, share: float, _detail: str) -> None:
            nonlocal last
            if label != last:
                last = label
                out.print(f"  {share:4.0%}  {label}")

        yield say
        return
    columns = (
        TextColumn("  {task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    with Progress(*columns, console=out) as bars:
        task = bars.add_task("", total=1.0, detail="")
        yield lambda label, share, detail: bars.update(
            task, description=f"{label:24}", completed=share, detail=detail
        )


def operation(snapshot: OperationSnapshot, show: Show) -> None:
    """Shows how far an operation is."""
    progress = snapshot.latest_progress
    if snapshot.done:
        show(f"{snapshot.kind}: {snapshot.state}", 1.0, "")
    elif progress is None or not progress.phase:
        show(f"{snapshot.kind}: waiting", 0.0, "")
    else:
        detail = (
            f"{progress.done:,} of {progress.total:,} {progress.unit}" if progress.total else ""
        )
        if progress.HasField("rate"):
            detail += f", {progress.rate:,.0f} {progress.unit}/s"
        place = f"{progress.phase_index}/{progress.phase_count}"
        show(f"{snapshot.kind}: {progress.phase} ({place})", progress.fraction, detail)


def table(
    out: Console,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Sequence[int] = (),
    section: int = 0,
) -> None:
    """A table; ``numbers`` are the columns whose cells stand at the right. With ``section``, a line
    is drawn after every so many rows, and the first row below a line is bold."""
    grid = Table(header_style="bold")
    for place, column in enumerate(columns):
        grid.add_column(column, justify="right" if place in numbers else "left")
    for place, row in enumerate(rows):
        first = bool(section) and place % section == 0
        last = bool(section) and place % section == section - 1
        grid.add_row(*row, style="bold" if first else None, end_section=last)
    out.print(grid)


def times(more: float, less: float) -> str:
    """How many times ``more`` is ``less``; a dash where that makes no sense."""
    if less <= 0:
        return "-"
    ratio = more / less
    return f"{ratio:,.0f}x" if ratio >= 20 else f"{ratio:.1f}x"


def megabytes(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e6:,.1f} MB"
