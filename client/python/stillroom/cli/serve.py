"""``stillroom serve``: the server's own command line, where the server is installed.

The command line's own library is not imported here: a server would start later for it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from stillroom.cli import exits


def serve(arguments: Sequence[str]) -> int:
    """Runs the server with ``arguments`` until it stops; answers its exit status."""
    # What a start makes stays, so looking for garbage in it is a tenth of its time for nothing.
    # The server turns it on again when it is ready.
    gc.disable()
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
    else:
        return main(list(arguments))
    finally:
        gc.enable()  # for a caller who goes on
