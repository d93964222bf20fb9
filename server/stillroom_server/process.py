"""What a serving process asks of the interpreter and the system, once."""

from __future__ import annotations

import contextlib
import gc
import resource


def allow_open_files() -> int:
    """Raises the soft limit of open files to the hard one, and answers it.

    Every connection is a file; the usual soft limit of 1,024 is far below what the settings allow,
    and beyond it new connections fail in silence.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        # macOS has hard limits that it does not keep.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def settle() -> None:
    """Collects garbage from now on, and leaves out what is there by now: going through all that
    was imported stops every request for 0.1 s, and finds nothing."""
    gc.freeze()
    gc.enable()
