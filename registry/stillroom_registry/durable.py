"""The steps of durable writing that Python does not spell out, and what a full disk is."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stillroom_registry.errors import ResourceExhausted
from stillroom_registry.failpoints import step

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def sync_file(descriptor: int) -> None:
    """Make a file's bytes durable."""
    with step("file.fsync"):
        os.fsync(descriptor)


def rename(source: Path, target: Path) -> None:
    """Give a file its name in one step, in the place of whatever has it."""
    with step("file.rename"):
        os.replace(source, target)  # noqa: PTH105


def sync_folder(folder: Path) -> None:
    """Make the folder's entries durable: a renamed file is not until its folder is synced."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with step("folder.fsync"):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_full_is_exhaustion() -> Iterator[None]:
    """Turn the operating system's "no space" into ResourceExhausted (reason DISK_FULL)."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise ResourceExhausted(
            "The disk that holds the data directory is full (or over its quota or file size "
            "limit); nothing was stored. Free some space and try again.",
            reason="DISK_FULL",
        ) from error
