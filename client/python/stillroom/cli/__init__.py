"""The command ``stillroom``. What its exit status means is in ``stillroom.cli.exits``."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["serve"]:  # without the weight of the other commands
        from stillroom.cli.serve import serve

        sys.exit(serve(given[1:]))
    from stillroom.cli.app import app

    app(given, prog_name="stillroom")
