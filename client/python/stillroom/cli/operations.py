"""``stillroom operations``: what runs, how far it is, and how to stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stillroom.cli import human
from stillroom.cli.options import command
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from stillroom.snapshots import OperationSnapshot

app = typer.Typer(help="Long-running operations.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="operations/ID, or the ID alone.")]


def full_name(name: str) -> str:
    """``operations/{id}`` of either form."""
    return name if name.startswith("operations/") else f"operations/{name}"


@command(app, "list")
def list_operations(
    session: Session,
    kind: Annotated[str | None, typer.Option(help="Such as distill or import.")] = None,
    state: Annotated[
        str | None, typer.Option(help="pending, running, succeeded, failed or cancelled.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
) -> None:
    """List operations, newest first."""
    from itertools import islice

    from stillroom.cli import plain

    with session.client() as client:
        found = list(islice(client.list_operations(kind=kind, state=state), limit))
    if session.json_output:
        session.emit([plain.operation(item) for item in found])
        return
    session.table(
        ("NAME", "KIND", "STATE", "TARGET", "DONE#", "CREATED"),
        (
            (
                item.name,
                item.kind,
                item.state,
                item.metadata.target,
                _share(item),
                human.moment(item.metadata.create_time),
            )
            for item in found
        ),
    )


def _share(item: OperationSnapshot) -> str:
    if item.state == "succeeded":
        return "100%"
    return f"{item.latest_progress.fraction:.0%}" if item.latest_progress else ""


@command(app, "show")
def show(session: Session, name: Name) -> None:
    """Show one operation."""
    from stillroom.cli import plain

    with session.client() as client:
        item = client.get_operation(full_name(name))
    if session.json_output:
        session.emit(plain.operation(item))
        return
    metadata, progress, error = item.metadata, item.latest_progress, item.error
    facts = [
        ("name", item.name),
        ("kind", item.kind),
        ("state", item.state),
        ("target", metadata.target),
        ("attempt", str(metadata.attempt)),
        ("created", human.moment(metadata.create_time)),
        ("started", human.moment(metadata.start_time)),
        ("ended", human.moment(metadata.end_time)),
    ]
    if progress is not None:
        facts.append(("phase", f"{progress.phase} ({progress.phase_index}/{progress.phase_count})"))
        facts.append(("done", _share(item)))
    if error is not None:
        facts.append(("error", f"{error.code} {error.reason}: {error.message}"))
    session.facts((key, value) for key, value in facts if value)


@command(app, "watch")
def watch(session: Session, name: Name) -> None:
    """Watch an operation until it is done; the exit status says how it ended.

    With --json, every change is a line on standard output.
    """
    from stillroom.cli import plain
    from stillroom.cli.follow import follow

    with session.client() as client:
        operation = client.get_operation(full_name(name))
        if session.json_output:
            for snapshot in operation.watch():
                session.emit(plain.operation(snapshot))
            operation.result()
        else:
            follow(session, operation)
            session.say(f"{operation.name} {operation.state}")


@command(app, "cancel")
def cancel(session: Session, name: Name) -> None:
    """Ask an operation to stop. It stops at its next check; `watch` shows when."""
    with session.client() as client:
        client.cancel_operation(full_name(name))
    if session.json_output:
        session.emit({"name": full_name(name), "cancel_requested": True})
    else:
        session.say(f"{full_name(name)} was asked to stop")
