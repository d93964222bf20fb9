"""Imports a real teacher, distills it, serves the student and compares the two.

    python -m benchmarks.demo

Everything happens in a temporary folder, with a server on a free port, and is removed at the end.
Exit status: 0 done, 1 something failed, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from benchmarks.demo import show, story
from benchmarks.demo.settings import DemoFailedError
from benchmarks.serving import ServerFailedError, tail
from stillroom import StillroomError

INTERRUPTED = 130
TERMINATED = 143


def main() -> int:
    """Runs the demo; answers the exit status."""
    signal.signal(signal.SIGTERM, _terminate)
    # The demo talks to its own server only, in the clear and without a token.
    for name in [name for name in os.environ if name.startswith("STILLROOM_")]:
        del os.environ[name]
    out = show.console()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stillroom-demo-", ignore_cleanup_errors=True) as path:
        try:
            story.tell(out, Path(path))
        except KeyboardInterrupt:
            out.print("\ninterrupted; the server is stopped")
            return INTERRUPTED
        except (DemoFailedError, ServerFailedError) as error:
            return _complain(str(error))
        except StillroomError as error:
            log = tail(Path(path) / "server.log")
            return _complain(f"{error.code} {error.reason}: {error.message}{log}")
    out.print(
        f"\nDone in {time.monotonic() - started:.0f} s; {path} is removed.", style="bold green"
    )
    return 0


def _complain(message: str) -> int:
    print(f"\ndemo failed: {message}", file=sys.stderr)
    return 1


def _terminate(*_: object) -> NoReturn:
    sys.exit(TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
