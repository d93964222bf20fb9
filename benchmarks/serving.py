"""A real ``stillroom serve`` in a process of its own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

READY = "stillroom ready "
READY_SECONDS = 60.0
STOP_SECONDS = 30.0
_LOG_LINES = 15


class ServerFailedError(Exception):
    """The server did not start, or did not stop cleanly; the message has the end of its log."""


@dataclass(frozen=True)
class Serving:
    """Where a server listens, and its process id."""

    address: str
    pid: int


@contextmanager
def serving(
    data_dir: Path, log: Path, *flags: str, variables: Mapping[str, str] | None = None
) -> Iterator[Serving]:
    """A server on a free port with its state in ``data_dir``, stopped by SIGTERM on exit.

    What it logs goes to ``log``. ``flags`` are more flags of ``stillroom serve``, ``variables``
    its environment instead of the caller's. Settings in either do not reach it. Raises
    ServerFailedError when it does not say within ``READY_SECONDS`` that it is ready, and on exit
    when its status is not 0.
    """
    command = [sys.executable, "-m", "stillroom", "serve", "--data-dir", str(data_dir)]
    command += ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", *flags]
    with log.open("ab") as errors:
        # A session of its own: an interrupt from the keyboard is for the caller, which then stops
        # the server itself, once.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment(os.environ if variables is None else variables),
            start_new_session=True,
        )
    try:
        yield Serving(_address(process, log), process.pid)
    except BaseException:
        _stop(process)
        raise
    status = _stop(process)
    if status:
        raise ServerFailedError(f"the server ended with status {status}{tail(log)}")


def environment(base: Mapping[str, str]) -> dict[str, str]:
    """``base`` without settings of Stillroom's."""
    return {name: value for name, value in base.items() if not name.startswith("STILLROOM_")}


def address_in(line: str) -> str | None:
    """The address that a ready line names; None if it is none."""
    if not line.startswith(READY):
        return None
    pairs = (word.partition("=") for word in line.split())
    return next((value for name, _, value in pairs if name == "address"), None)


def tail(log: Path) -> str:
    """The last lines of a log, to append to a message; empty if it is."""
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.is_file() else []
    return "".join(f"\n  | {line}" for line in lines)


def _address(process: subprocess.Popen[str], log: Path) -> str:
    line = _first_line(process.stdout, READY_SECONDS)
    address = address_in(line)
    if address is None:
        raise ServerFailedError(f"{_why_not_ready(process, line)}{tail(log)}")
    return address


def _why_not_ready(process: subprocess.Popen[str], line: str) -> str:
    if line:
        return f"the server began with {line!r} instead of saying that it is ready"
    try:
        return f"the server ended at once with status {process.wait(1)}"
    except subprocess.TimeoutExpired:
        return f"the server was not ready within {READY_SECONDS:.0f} s"


def _first_line(stream: IO[str] | None, seconds: float) -> str:
    assert stream is not None
    readable, _, _ = select.select([stream], [], [], seconds)
    return stream.readline() if readable else ""


def _stop(process: subprocess.Popen[str]) -> int:
    """Asks it to stop; kills it when it does not, or when the caller is interrupted meanwhile."""
    try:
        process.send_signal(signal.SIGTERM)
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    return process.returncode
