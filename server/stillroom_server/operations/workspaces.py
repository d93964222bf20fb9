"""The scratch folders of operations: DATA_DIR/operations/<id>/."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path


class Workspaces:
    """Folders that last as long as their operations do."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "operations"

    def make(self, operation_id: str) -> Path:
        """The folder of an operation, as an earlier attempt left it, or new."""
        folder = self._root / operation_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def remove(self, operation_id: str) -> None:
        """What cannot be removed now is an orphan for the next sweep."""
        shutil.rmtree(self._root / operation_id, ignore_errors=True)

    def sweep(self, unfinished: Callable[[], Collection[str]]) -> list[str]:
        """Remove the folders of operations that have ended or are unknown; their ids.

        ``unfinished`` is asked after the folders are listed: an operation that begins in between
        then has no folder on the list.
        """
        if not self._root.is_dir():
            return []
        found = [folder.name for folder in self._root.iterdir()]
        orphans = sorted(set(found) - set(unfinished()))
        for orphan in orphans:
            self.remove(orphan)
        return orphans
