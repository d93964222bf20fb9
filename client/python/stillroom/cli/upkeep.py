"""``stillroom models verify`` and ``gc``: whether bytes are whole, and which nobody needs."""

from __future__ import annotations

from typing import Annotated

import typer

from stillroom.cli import human
from stillroom.cli.options import command
from stillroom.cli.session import Session

Wait = Annotated[bool, typer.Option(help="Wait until it is done, with progress.")]


def register(models: typer.Typer) -> None:
    """Adds the commands to ``models``."""
    command(models, "verify")(verify)
    command(models, "gc")(collect_garbage)


def verify(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME[@V]", help="name, name@3 or name@alias.")],
    wait: Wait = True,
) -> None:
    """Hash a version's files again; exit status 1 when one is damaged."""
    from stillroom.cli.exits import FAILURE
    from stillroom.cli.launch import finish

    with session.client() as client:
        response = finish(session, client.verify(name), wait)
    if response is None:
        return
    damaged = list(response.damaged_files)
    if not session.json_output:
        if damaged:
            session.table(
                ("DAMAGED", "SIZE#", "DIGEST"),
                ((file.path, human.size(file.size_bytes), file.digest) for file in damaged),
            )
            session.say(
                f"{name} is refused until its bytes are back: publish, pull or import the same"
                " files again, under any name"
            )
        else:
            session.out.print(f"{name} is whole: {human.size(response.verified_bytes)} hashed")
    if damaged:
        raise typer.Exit(FAILURE)


def collect_garbage(
    session: Session,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    grace: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Spare what is younger (an hour)."),
    ] = None,
    wait: Wait = True,
) -> None:
    """Delete blobs that nothing refers to."""
    from stillroom.cli.launch import finish

    with session.client() as client:
        operation = client.collect_garbage(dry_run=dry_run, grace_seconds=grace)
        response = finish(session, operation, wait)
    if response is None or session.json_output:
        return
    done = "would be deleted" if dry_run else "deleted"
    size = human.size(response.deleted_bytes)
    session.out.print(
        f"{response.deleted_blobs:,} blobs ({size}) {done}, {response.kept_blobs:,} kept"
    )
