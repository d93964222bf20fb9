"""Named places where a test may kill the process or make the disk fail.

Every step towards the disk passes one before and one after: ``fsync``, ``rename``, ``unlink``,
``commit`` and the like, as ``file.fsync:before``. Nothing happens there unless a test armed one, in
this process (``armed``) or by the environment of another:

    STILLROOM_FAILPOINT=blob.rename:after=kill      the first time that point is reached
    STILLROOM_FAILPOINT=commit:before#3=enospc      the third time
    STILLROOM_FAILPOINT=*#17=kill                   the seventeenth point of any name
"""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

VARIABLE = "STILLROOM_FAILPOINT"
_ARMED = re.compile(r"(?P<point>[a-z.:*]+)(?:#(?P<nth>[1-9][0-9]*))?=(?P<action>[a-z]+)")
# What SQLite makes of them: SQLITE_FULL, SQLITE_IOERR, SQLITE_READONLY.
_SQLITE_CODES = {errno.ENOSPC: 13, errno.EDQUOT: 13, errno.EIO: 10, errno.EROFS: 8}

Hook = Callable[[str], None]


class InjectedError(OSError):
    """Reads as the operating system's error to us and as SQLite's to what translates those."""

    def __init__(self, code: int) -> None:
        super().__init__(code, os.strerror(code))
        self.sqlite_errorcode = _SQLITE_CODES[code]


def reach(point: str) -> None:
    """Pass the point; costs a look at a variable where no test has armed any."""
    if _hook is not None:
        _hook(point)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Pass ``name:before``, do what is inside, pass ``name:after``."""
    reach(f"{name}:before")
    yield
    reach(f"{name}:after")


@contextmanager
def armed(text: str) -> Iterator[None]:
    """Arm a point as the environment variable does, for as long as the block lasts."""
    with hooked(_parse(text)):
        yield


@contextmanager
def hooked(hook: Hook) -> Iterator[None]:
    """Call ``hook`` with every point that is reached in this process, from any thread."""
    global _hook
    before, _hook = _hook, hook
    try:
        yield
    finally:
        _hook = before


def _parse(text: str) -> Hook:
    match = _ARMED.fullmatch(text)
    if match is None or match["action"] not in _ACTIONS:
        raise ValueError(f"{VARIABLE}={text!r} is not POINT[#N]={'|'.join(_ACTIONS)}")
    wanted, act = match["point"], _ACTIONS[match["action"]]
    left = int(match["nth"] or 1)

    def hook(point: str) -> None:
        nonlocal left
        if wanted in ("*", point):
            left -= 1
            if left == 0:
                act()

    return hook


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail(code: int) -> Callable[[], None]:
    def fail() -> None:
        raise InjectedError(code)

    return fail


_ACTIONS = {"kill": _kill} | {errno.errorcode[code].lower(): _fail(code) for code in _SQLITE_CODES}


def _from(environment: Mapping[str, str]) -> Hook | None:
    text = environment.get(VARIABLE)
    return _parse(text) if text else None


_hook: Hook | None = _from(os.environ)
