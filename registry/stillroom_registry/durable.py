"""The steps of durable writing that Python does not spell out, from bytes to names."""

from __future__ import annotations

import os
from pathlib import Path

from stillroom_registry.failpoints import step


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
