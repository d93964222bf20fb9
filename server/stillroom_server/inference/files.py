"""Reads the files of a model folder that nobody vouches for: bounded, regular, and well-formed."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillroom_registry.errors import DataLoss, StillroomError


@dataclass(frozen=True, slots=True)
class FolderReader:
    """Opens files of one folder; whatever is wrong with one is raised as ``blame``, naming it.

    ``blame`` says whose fault a bad file is: InvalidArgument while somebody hands us the folder,
    DataLoss once it came out of our own store.
    """

    folder: Path
    blame: type[StillroomError] = DataLoss

    def error(self, name: str, problem: str, reason: str) -> StillroomError:
        """The error to raise about the file ``name``."""
        return self.blame(f"{name}: {problem}.", reason=reason, metadata={"file": name})

    def path(self, name: str) -> Path:
        """The path of a file that must exist and be a regular file (a link to one will do)."""
        path = self.folder / name
        try:
            regular = stat.S_ISREG(path.stat().st_mode)
        except (OSError, ValueError) as failure:
            raise self.error(name, f"cannot be read ({failure})", "FILE_MISSING") from failure
        if not regular:
            raise self.error(name, "is not a regular file", "FILE_NOT_REGULAR")
        return path

    def exists(self, name: str) -> bool:
        return (self.folder / name).exists()

    def text(self, name: str, max_bytes: int) -> str:
        """The UTF-8 text of a file of at most ``max_bytes``."""
        try:
            with self.path(name).open("rb") as stream:
                content = stream.read(max_bytes + 1)
        except OSError as failure:
            raise self.error(name, f"cannot be read ({failure})", "FILE_UNREADABLE") from failure
        if len(content) > max_bytes:
            raise self.error(name, f"is larger than {max_bytes} bytes", "FILE_TOO_LARGE")
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as failure:
            raise self.error(name, "is not UTF-8", "FILE_NOT_JSON") from failure

    def json(self, name: str, max_bytes: int) -> Mapping[str, Any]:
        """The JSON object that a file of at most ``max_bytes`` holds."""
        return self.parse(name, self.text(name, max_bytes))

    def parse(self, name: str, text: str) -> Mapping[str, Any]:
        """The JSON object ``text``, read from the file ``name``."""
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as failure:
            raise self.error(name, f"is not JSON ({failure})", "FILE_NOT_JSON") from failure
        if not isinstance(value, dict):
            raise self.error(name, "is not a JSON object", "FILE_NOT_JSON")
        return value
