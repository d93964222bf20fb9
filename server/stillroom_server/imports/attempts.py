"""Where an attempt of an import works."""

from __future__ import annotations

import shutil
from pathlib import Path


def attempt_folder(workspace: Path, attempt: int) -> Path:
    """An empty folder of that attempt's own."""
    folder = workspace / f"attempt-{attempt}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
