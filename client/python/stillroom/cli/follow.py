"""Waiting for an operation, with progress for whoever watches."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from stillroom.cli import exits, human, plain
from stillroom.cli.session import Session, safe

if TYPE_CHECKING:
    from stillroom.operation import Operation
    from stillroom.snapshots import OperationSnapshot

Show = Callable[["OperationSnapshot"], None]


def follow(session: Session, operation: Operation[Any]) -> Any:
    """Shows progress on standard error until ``operation`` is done, and answers its response.

    Raises its error if it failed. An interrupt leaves it running and says how to go on.
    """
    try:
        with _display(session) as show:
            for snapshot in operation.watch():
                show(snapshot)
    except KeyboardInterrupt:
        session.say(
            f"\n{operation.name} goes on without you.\n"
            f"  watch it again:  stillroom operations watch {operation.name}\n"
            f"  stop it:         stillroom operations cancel {operation.name}"
        )
        raise typer.Exit(exits.INTERRUPTED) from None
    return operation.result()


@contextmanager
def _display(session: Session) -> Iterator[Show]:
    if session.json_output:
        yield _json_lines
    elif session.err.is_terminal:
        with _bars(session) as show:
            yield show
    else:
        yield _phase_lines(session)


def _json_lines(snapshot: OperationSnapshot) -> None:
    sys.stderr.write(json.dumps(plain.operation(snapshot)) + "\n")


def _phase_lines(session: Session) -> Show:
    """A line a phase, for logs."""
    last = ""

    def show(snapshot: OperationSnapshot) -> None:
        nonlocal last
        line = _label(snapshot)
        if line != last:
            last = line
            session.say(line)

    return show


@contextmanager
def _bars(session: Session) -> Iterator[Show]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}", markup=False),
    )
    with Progress(*columns, console=session.err) as bars:
        task = bars.add_task("waiting for the runner", total=1.0, detail="")

        def show(snapshot: OperationSnapshot) -> None:
            progress = snapshot.latest_progress
            bars.update(
                task,
                description=safe(_label(snapshot)),
                completed=1.0 if snapshot.state == "succeeded" else progress and progress.fraction,
                detail=safe(_detail(snapshot)),
            )

        yield show


def _label(snapshot: OperationSnapshot) -> str:
    progress = snapshot.latest_progress
    if snapshot.done or progress is None or not progress.phase:
        return f"{snapshot.kind} {snapshot.state}"
    again = f" (attempt {snapshot.metadata.attempt})" if snapshot.metadata.attempt > 1 else ""
    place = f"{progress.phase_index}/{progress.phase_count}"
    return f"{snapshot.kind} {place} {progress.phase}{again}"


def _detail(snapshot: OperationSnapshot) -> str:
    progress = snapshot.latest_progress
    if snapshot.done or progress is None:
        return ""
    parts = []
    if progress.total:
        parts.append(f"{progress.done:,} of {progress.total:,} {progress.unit}")
    if progress.HasField("rate"):
        parts.append(f"{progress.rate:,.0f} {progress.unit}/s")
    if progress.HasField("seconds_left"):
        parts.append(f"{human.duration(progress.seconds_left)} left")
    return ", ".join(parts) or progress.message
