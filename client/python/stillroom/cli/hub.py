"""``stillroom models push`` and ``pull``: versions to the Hub and from it."""

from __future__ import annotations

from typing import Annotated

import typer

from stillroom.cli import human
from stillroom.cli.options import command
from stillroom.cli.session import Session

Wait = Annotated[bool, typer.Option(help="Wait until it is done, with progress.")]


def register(models: typer.Typer) -> None:
    """Adds the commands to ``models``."""
    command(models, "push")(push)
    command(models, "pull")(pull)


def push(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME[@V]", help="name, name@3 or name@alias.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="On the Hub.")],
    branch: Annotated[str | None, typer.Option(help="The default branch unless given.")] = None,
    tag: Annotated[str | None, typer.Option(help="To set after the commit.")] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Private, if this push makes the repository.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite though the remote has moved.")
    ] = False,
    wait: Wait = True,
) -> None:
    """Publish a version on the Hub as one commit."""
    from stillroom.cli.launch import finish

    with session.client() as client:
        operation = client.push(name, repo, branch=branch, tag=tag, private=private, force=force)
        response = finish(session, operation, wait)
    if response is None or session.json_output:
        return
    session.out.print(response.url or f"{repo} {response.commit}")
    if not response.changed:
        session.say(f"nothing to do: {repo} holds these files already")


def pull(
    session: Session,
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME[@REVISION]", help="On the Hub.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model's name here.")],
    revision: Annotated[
        str | None, typer.Option(help="A branch, a tag or a commit, instead of @REVISION.")
    ] = None,
    wait: Wait = True,
) -> None:
    """Make a version of a Hub repository, each file checked by its digest."""
    from stillroom.cli.launch import finish

    with session.client() as client:
        response = finish(session, client.pull(repo, name, revision=revision), wait)
    if response is not None and not session.json_output:
        version = response.model_version
        size = human.size(version.total_bytes)
        session.out.print(f"{version.name}  {size}  of commit {response.commit}")
