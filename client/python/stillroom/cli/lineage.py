"""``stillroom models lineage``: what a version was made from, and what was made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stillroom.cli.options import command
from stillroom.cli.session import Session, safe


def register(models: typer.Typer) -> None:
    """Adds the command to ``models``."""
    command(models, "lineage")(lineage)


def lineage(
    session: Session,
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME[@V]", help="name, name@3 or name@alias; a deleted one by full name."
        ),
    ],
    depth: Annotated[
        int | None, typer.Option(min=0, help="Steps each way; 0: all (100).", metavar="STEPS")
    ] = None,
    mermaid: Annotated[
        bool, typer.Option("--mermaid", help="As a Mermaid flowchart, for Markdown.")
    ] = False,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as a picture.")] = None,
) -> None:
    """Show what a version was made from and what was made from it, deleted versions too."""
    from stillroom import lineages
    from stillroom.cli import pages
    from stillroom.cli.plain import plain

    with session.client() as client:
        found = client.get_lineage(name, depth=depth)
    if found.truncated:
        session.say("there are more versions than are answered: the farthest are left out")
    if svg is not None:
        pages.write(svg, lineages.svg(found))
        session.say(f"the lineage of {name} is in {svg}")
    if session.json_output:
        session.emit(plain(found))
    elif mermaid:
        session.out.print(safe(lineages.mermaid(found)), end="")
    elif svg is None:
        for line in lineages.tree(found):
            session.out.print(safe(line))
