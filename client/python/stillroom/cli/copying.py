"""``stillroom models copy``: a version from one server to another."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillroom.cli.options import command
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from stillroom.client import Client
    from stillroom.copies import Copied

_PEM = "PEM"


def register(models: typer.Typer) -> None:
    """Adds the command to ``models``."""
    command(models, "copy")(copy)


def copy(
    session: Session,
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="What to copy: name, name@3 or name@alias.")
    ],
    new_name: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", help="The model's name there; the same unless given."),
    ] = None,
    from_server: Annotated[
        str | None,
        typer.Option("--from", metavar="HOST:PORT", help="The server of SOURCE (--target)."),
    ] = None,
    to_server: Annotated[
        str | None,
        typer.Option("--to", metavar="HOST:PORT", help="The server of TARGET (--target)."),
    ] = None,
    from_token: Annotated[
        str | None, typer.Option(help="With --from; better: STILLROOM_FROM_TOKEN.")
    ] = None,
    to_token: Annotated[
        str | None, typer.Option(help="With --to; better: STILLROOM_TO_TOKEN.")
    ] = None,
    from_root_certificates: Annotated[
        Path | None, typer.Option(metavar=_PEM, help="With --from: CAs to trust; turns TLS on.")
    ] = None,
    to_root_certificates: Annotated[
        Path | None, typer.Option(metavar=_PEM, help="With --to: CAs to trust; turns TLS on.")
    ] = None,
    temporary: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where its files rest meanwhile (the system's). Given again, an interrupted copy"
            " goes on.",
        ),
    ] = None,
) -> None:
    """Copy a version to another server, or to another name, through this machine.

    The same files, byte for byte, with the same metadata and report, or nothing. A version that is
    there already is not sent again.

    A server given by --from or --to gets its own token, never that of --token or STILLROOM_TOKEN.
    """
    from stillroom.errors import InvalidArgument

    if from_server is None and to_server is None and new_name is None:
        raise InvalidArgument(
            "the copy needs another server (--from, --to) or another name", field="new_name"
        )
    first = _end(session, "from", from_server, from_token, from_root_certificates)
    second = _end(session, "to", to_server, to_token, to_root_certificates)
    with first as client, second as other:
        copied = client.copy_model(
            source,
            other,
            new_name,
            progress=not session.json_output and session.err.is_terminal,
            temporary=temporary,
        )
    _show(session, copied)


def _end(
    session: Session, end: str, address: str | None, token: str | None, certificates: Path | None
) -> AbstractContextManager[Client]:
    """A client of one end of the copy."""
    from stillroom.errors import InvalidArgument

    if address is not None:
        secret = token or os.environ.get(f"STILLROOM_{end.upper()}_TOKEN") or None
        return session.other_client(address, secret, certificates)
    for name, value in (("token", token), ("root-certificates", certificates)):
        if value is not None:
            raise InvalidArgument(f"--{end}-{name} goes with --{end}", field=end)
    return session.client()


def _show(session: Session, copied: Copied) -> None:
    from stillroom.cli.plain import plain

    if session.json_output:
        session.emit(
            {
                "source": copied.source.name,
                "model_version": plain(copied.version),
                "was_there": copied.was_there,
                "identical": copied.identical,
                "left_out": [{"path": path, "reason": why} for path, why in copied.left_out],
                "changed": list(copied.changed),
                "anew": copied.anew,
            }
        )
        return
    session.out.print(copied.version.name)
    if copied.was_there:
        session.say("it was there already: nothing was sent")
    if copied.anew:
        session.say("an older server imported it anew: its metadata and report stayed behind")
    for path, reason in copied.left_out:
        session.say(f"left out {path}: {reason}")
    for path in copied.changed:
        session.say(f"{path} has other bytes there")
