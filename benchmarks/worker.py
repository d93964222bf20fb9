"""A side of a benchmark in a process of its own: it is told what to do, one JSON line a round, and
answers one JSON line. So neither side's threads, imports or memory are in the other's way.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.serving import environment

END_SECONDS = 10.0


class WorkerFailedError(Exception):
    """A side ended before it had answered; what it said is on standard error."""


class Worker:
    """The caller's end; ``pid`` is the process."""

    def __init__(self, module: str, process: subprocess.Popen[str]) -> None:
        self._module = module
        self._process = process
        self.pid = process.pid

    def ask(self, **request: Any) -> Any:
        """Sends a request and waits for the answer. Raises WorkerFailedError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self._process.wait(END_SECONDS)
            raise WorkerFailedError(f"{self._module} ended with status {status}")
        return json.loads(line)


@contextmanager
def worker(
    module: str,
    *arguments: str,
    settings: Mapping[str, str] | None = None,
    python: Path | None = None,
) -> Iterator[Worker]:
    """Runs ``python -m module arguments`` and ends it on exit. ``settings`` are added to its
    environment; ``python`` is another interpreter than this one."""
    process = subprocess.Popen(
        [str(python or sys.executable), "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment(os.environ), **(settings or {})},
        start_new_session=True,
    )
    try:
        yield Worker(module, process)
    finally:
        assert process.stdin is not None
        try:
            process.stdin.close()  # the end of its input is the end of its work
            process.wait(END_SECONDS)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def answer(handle: Callable[[dict[str, Any]], Any]) -> None:
    """The worker's end: answers every line of standard input until there are no more. What
    ``handle`` prints goes to standard error."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            print(json.dumps(handle(json.loads(line))), file=answers, flush=True)
