"""The composition root: settings in, a running server out.

This is the front process. It serves students and keeps the registry; torch, transformers and onnx
are never imported here (a test holds that): teachers and operations run in processes of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence

import uvloop

from stillroom_registry.errors import InvalidArgument, PermissionDenied, StillroomError
from stillroom_server.inference.blas import compute_on_one_thread
from stillroom_server.observability import logging as log_setup
from stillroom_server.process import allow_open_files, settle
from stillroom_server.server import Server
from stillroom_server.settings import Settings, load

EXIT_FAILED = 1
EXIT_USAGE = 2
_log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Runs ``stillroom serve`` with these flags until a signal; answers the exit status.

    0 after a graceful stop, 1 when it could not start (port or data directory in use, insecure
    bind), 2 when a setting is wrong.
    """
    try:
        settings = load(arguments)
        log_setup.configure(settings.log_format, settings.log_level)
        allow_open_files()
        compute_on_one_thread()
        # A tenth to a fifth less CPU an RPC than the standard library's loop.
        uvloop.run(serve(settings))
    except (InvalidArgument, PermissionDenied) as error:
        return _complain(error, EXIT_USAGE)
    except StillroomError as error:
        return _complain(error, EXIT_FAILED)
    return 0


async def serve(settings: Settings) -> None:
    """Starts, says so on standard output, and serves until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop_or_leave, stop, number)
    server = await Server.start(settings)
    try:
        settle()
        print(server.ready_line(), flush=True)  # noqa: T201  # what scripts wait for
        await stop.wait()
    finally:
        _log.info("stopping: requests in flight have %.0f s", settings.grace_seconds)
        await server.stop(settings.grace_seconds)


def _stop_or_leave(stop: asyncio.Event, number: int) -> None:
    """The first signal drains; a second one leaves at once."""
    if stop.is_set():
        with contextlib.suppress(ValueError):
            signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    stop.set()


def _complain(error: StillroomError, status: int) -> int:
    print(f"stillroom serve: {error.message}", file=sys.stderr)  # noqa: T201
    return status
