"""``stillroom models alias``, ``rollback`` and ``history``: names for versions that can move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from stillroom.cli import human
from stillroom.cli.options import command
from stillroom.cli.session import Session

if TYPE_CHECKING:
    from stillroom.v1 import model_pb2

app = typer.Typer(
    help="Aliases: names for versions that can move. A bare model name means `default`.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
Alias = Annotated[str, typer.Argument(metavar="ALIAS", help="Such as default or production.")]
Expect = Annotated[
    int | None,
    typer.Option(metavar="VERSION", help="Refuse unless it points there now."),
]


def register(models: typer.Typer) -> None:
    """Adds the commands beside the group to ``models``."""
    command(models, "rollback")(roll_back)
    command(models, "history")(history)


@command(app, "set")
def set_alias(
    session: Session,
    name: Name,
    alias: Alias,
    version: Annotated[int, typer.Argument(metavar="VERSION", help="Where it points from now on.")],
    expect: Annotated[
        int | None,
        typer.Option(metavar="VERSION", help="Refuse unless it points there now; 0: nowhere."),
    ] = None,
) -> None:
    """Point an alias to a version, making it if it does not exist."""
    with session.client() as client:
        _say(session, name, alias, client.set_alias(name, alias, version, expected_version=expect))


@command(app, "delete")
def delete_alias(session: Session, name: Name, alias: Alias) -> None:
    """Delete an alias; the version stays."""
    with session.client() as client:
        client.delete_alias(name, alias)
    if session.json_output:
        session.emit({"deleted": f"models/{name}/aliases/{alias}"})
    else:
        session.say(f"{name}@{alias} is gone; its version stays")


@command(app, "list")
def list_aliases(session: Session, name: Name) -> None:
    """List the aliases of a model."""
    with session.client() as client:
        model = client.get_model(name)
    if session.json_output:
        session.emit({alias: model.aliases[alias] for alias in sorted(model.aliases)})
        return
    session.table(
        ("ALIAS", "VERSION#"),
        ((alias, str(model.aliases[alias])) for alias in sorted(model.aliases)),
    )


def roll_back(session: Session, name: Name, alias: Alias, expect: Expect = None) -> None:
    """Point an alias back to where it pointed before its last move."""
    with session.client() as client:
        _say(session, name, alias, client.roll_back_alias(name, alias, expected_version=expect))


def history(
    session: Session,
    name: Name,
    alias: Annotated[str | None, typer.Option(help="Only of this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
) -> None:
    """List the moves of a model's aliases, newest first: who, when, from where, to where."""
    from itertools import islice

    from stillroom.cli.plain import plain

    with session.client() as client:
        moves = list(islice(client.list_alias_events(name, alias=alias), limit))
    if session.json_output:
        session.emit([plain(move) for move in moves])
        return
    session.table(
        ("WHEN", "ALIAS", "FROM#", "TO#", "BY"),
        (
            (
                human.moment(move.event_time),
                move.alias.rpartition("/")[2],
                str(move.from_version or "-"),
                str(move.to_version or "-"),
                move.actor,
            )
            for move in moves
        ),
    )


def _say(session: Session, name: str, alias: str, result: model_pb2.ModelAlias) -> None:
    from stillroom.cli.plain import plain

    if session.json_output:
        session.emit(plain(result))
    else:
        session.out.print(f"{name}@{alias} is version {result.version}")
