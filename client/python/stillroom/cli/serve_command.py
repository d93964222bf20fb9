"""``stillroom serve`` among the other commands, for ``stillroom --help``."""

from __future__ import annotations

import typer

from stillroom.cli.serve import serve


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
