"""The runner as a process: its arguments, signals, priority and end.

It ends when SIGTERM or SIGINT arrives, when its standard input reaches the end (whoever started it
holds the other end of the pipe and is gone), or when it is idle. In each case its claims are
released first. It ends without Python's teardown, which would wait for threads of libraries and for
executors that do not unwind; nothing is lost by that, as every write is on disk when it returns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NoReturn

from pydantic import ValidationError

from stillroom_registry.errors import InvalidArgument, StillroomError
from stillroom_registry.registry import Registry
from stillroom_server.observability.logging import configure as configure_logging
from stillroom_server.operations.executors import load_factory
from stillroom_server.operations.pace import ThreadLimit
from stillroom_server.operations.runner import Runner
from stillroom_server.operations.settings import OperationsSettings
from stillroom_server.operations.store import OperationStore
from stillroom_server.operations.worker import current_worker
from stillroom_server.operations.workspaces import Workspaces

DEFAULT_EXECUTORS = "stillroom_server.operations.executors:build"
SETTINGS_KEY = "operations"
_MAX_SETTINGS_BYTES = 1 << 20
_log = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run to the end of the process; exit status 0, or 1 when it could not begin."""
    parser = argparse.ArgumentParser(prog="python -m stillroom_server.operations.runner")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument(
        "--settings-json",
        default="{}",
        help=f"a JSON object: {SETTINGS_KEY!r}, 'log_format' and 'log_level' for the runner, all "
        "of it for the executors; '-' reads it from the first line of standard input, which no "
        "list of processes shows",
    )
    parser.add_argument("--executors", default=DEFAULT_EXECUTORS, help="module:function")
    options = parser.parse_args(arguments)
    configure_logging()
    try:
        _run(options.data_dir, options.settings_json, options.executors)
    except StillroomError as error:
        _log.error("the runner cannot begin: %s", error.message)
        _exit(1)
    except BaseException:
        _log.exception("the runner failed")
        _exit(1)
    _exit(0)


def _run(data_dir: Path, settings_text: str, executors: str) -> None:
    # Not above: the front imports this module for its names.
    from stillroom_server.cost.ledger.ledger import Ledger
    from stillroom_server.cost.ledger.observing import LedgerObserver

    stdin = sys.stdin.buffer
    if settings_text == "-":
        settings_text = stdin.readline(_MAX_SETTINGS_BYTES).decode()
    settings_json = _parse(settings_text)
    configure_logging(
        settings_json.get("log_format", "auto"), settings_json.get("log_level", "info")
    )
    settings = _operations_settings(settings_json)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    limit = ThreadLimit()
    threading.Thread(target=_listen, args=(stdin, limit, stop), name="stdin", daemon=True).start()
    _give_way(settings.nice)

    quota = settings_json.get("registry_quota_bytes") or None
    registry = Registry.open(data_dir, quota_bytes=quota)
    store = OperationStore(
        registry.database,
        lambda: datetime.now(UTC),
        max_lost_attempts=settings.max_lost_attempts,
        observer=LedgerObserver(
            Ledger.open(registry.database),
            # What operations fill outside of their workspaces: vectors of teachers.
            [data_dir / "cache" / "features"],
            note_seconds=settings.heartbeat_seconds,
        ),
    )
    worker_name = str(current_worker())
    runner = Runner(
        store,
        load_factory(executors)(settings_json, registry),
        Workspaces(data_dir),
        settings,
        worker_name,
        on_check=limit.apply,
    )
    _log.info("runner %s begins", worker_name)
    if not runner.run(stop):
        _log.warning("runner ends while an executor still runs")


def _give_way(nice: int) -> None:
    """Lowers this process's priority. Where Linux shares the cores out between sessions first
    (autogroups), a nice process in a session of its own has as much as anybody, unless its session
    is nice, too."""
    os.nice(nice)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")


def _parse(text: str) -> Mapping[str, Any]:
    try:
        settings_json = json.loads(text)
    except ValueError:
        settings_json = None
    if not isinstance(settings_json, dict):
        # Without the text, which may hold secrets.
        raise InvalidArgument("--settings-json is no JSON object.", field="settings_json")
    return settings_json


def _operations_settings(settings_json: Mapping[str, Any]) -> OperationsSettings:
    try:
        return OperationsSettings.model_validate(settings_json.get(SETTINGS_KEY, {}))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise InvalidArgument(f"Bad settings: {problems}.", field=SETTINGS_KEY) from None


def _listen(stream: IO[bytes], limit: ThreadLimit, stop: threading.Event) -> None:
    while line := stream.readline(1 << 16):
        limit.hear(line)
    stop.set()


def _exit(status: int) -> NoReturn:
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
