"""The command line as a tree of commands."""

from __future__ import annotations

from typing import Any

import typer

from stillroom.cli import (
    bench,
    classify,
    distill,
    embed,
    estimate,
    evaluate,
    models,
    operations,
    serve_command,
    train,
)
from stillroom.cli.options import command, with_common
from stillroom.cli.session import Session

app = typer.Typer(
    name="stillroom",
    help="Distill, keep and serve small embedding models, and classifiers on them.",
    epilog=(
        "Exit status: 0 done, 1 failed, 2 usage or invalid argument, 3 not found, 4 conflict,"
        " 5 unavailable, 6 not allowed, 7 exhausted, 8 cancelled, 130 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models.app, name="models")
app.add_typer(operations.app, name="operations")
app.add_typer(estimate.app, name="estimate")
serve_command.register(app)
distill.register(app)
embed.register(app)
train.register(app)
classify.register(app)
evaluate.register(app)
bench.register(app)


def _root(context: typer.Context, common: dict[str, Any]) -> None:
    context.obj = common


app.callback()(with_common(_root, own=0))


@command(app, "version")
def version(session: Session) -> None:
    """Show the version of this client."""
    from stillroom._version import __version__

    if session.json_output:
        session.emit({"version": __version__})
    else:
        session.out.print(f"stillroom {__version__}")
