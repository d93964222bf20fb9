"""``stillroom serve``: the server's own command line, where the server is installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from stillroom.cli import exits


def serve(arguments: Sequence[str]) -> int:
    """Runs the server with ``arguments`` until it stops; answers its exit status."""
    try:
        from stillroom_server.app import main
    except ModuleNotFoundError as error:
        # Its package is there without what it needs in an install of the client alone.
        sys.stderr.write(
            f"error: the server is not installed here ({error.name} is missing).\n"
            "Install it with: pip install 'stillroom[server]'\n"
            "(with distillation: pip install 'stillroom[train]')\n"
        )
        return exits.FAILURE
    return main(list(arguments))


def register(app: typer.Typer) -> None:
    """Adds the command to ``app``; ``--help`` and all options go to the server."""

    @app.command(
        "serve",
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "help_option_names": [],
        },
    )
    def _serve(context: typer.Context) -> None:
        """Run the server; `stillroom serve --help` lists its settings."""
        raise typer.Exit(serve(context.args))
