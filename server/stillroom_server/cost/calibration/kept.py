"""Measurements on disk: a small JSON file for each fingerprint, whole or not at all."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from stillroom_registry.durable import sync_folder
from stillroom_server.cost.calibration.rates import Line

MOST_FILES = 256
_MOST_BYTES = 1 << 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """``lines`` by name; ``time``: when the oldest was measured; ``tried``: when that was tried
    last. ``complete``: nothing is left to measure; ``attempts``: how often it was tried."""

    time: datetime
    lines: Mapping[str, Line] = field(default_factory=dict)
    complete: bool = False
    attempts: int = 1
    tried: datetime | None = None


class Kept:
    """``folder`` is of this class alone; beyond ``MOST_FILES`` the files measured longest ago go.

    Losing a file costs measuring again, so reading and writing never fail.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[tuple[int, int], Measured]] = {}

    def get(self, fingerprint: str) -> Measured | None:
        """None: never measured, or the file is damaged. A look at the file's time where it was read
        before."""
        file = self._file(fingerprint)
        try:
            state = file.stat()
            stamp = (state.st_mtime_ns, state.st_ino)
            known = self._read.get(fingerprint)
            if known is not None and known[0] == stamp:
                return known[1]
            with file.open("rb") as stream:
                found = _from_json(json.loads(stream.read(_MOST_BYTES)), fingerprint)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("a calibration is damaged and will be measured anew: %s", error)
            return None
        if len(self._read) >= MOST_FILES:
            self._read.clear()
        self._read[fingerprint] = (stamp, found)
        return found

    def put(self, fingerprint: str, measured: Measured) -> None:
        """In place of what was kept."""
        text = json.dumps(_to_json(measured, fingerprint))
        temporary: Path | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".calibration-")
            temporary = Path(name)
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self._file(fingerprint))
            temporary = None
            sync_folder(self._folder)
            self._prune()
        except OSError as error:
            _log.warning("a calibration cannot be kept: %s", error)
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)

    def _file(self, fingerprint: str) -> Path:
        return self._folder / f"{fingerprint.removeprefix('sha256:')}.json"

    def _prune(self) -> None:
        files = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for file in files[:-MOST_FILES]:
            file.unlink(missing_ok=True)


def _to_json(measured: Measured, fingerprint: str) -> dict[str, object]:
    return {
        "fingerprint": fingerprint,
        "time": measured.time.isoformat(),
        "tried": (measured.tried or measured.time).isoformat(),
        "complete": measured.complete,
        "attempts": measured.attempts,
        "lines": [line.to_json() for line in measured.lines.values()],
    }


def _from_json(value: Mapping[str, Any], fingerprint: str) -> Measured:
    if not isinstance(value, dict) or value["fingerprint"] != fingerprint:
        raise ValueError("it is of another fingerprint")
    lines = [Line.from_json(line) for line in value["lines"]]
    return Measured(
        _time(value["time"]),
        {line.name: line for line in lines},
        value["complete"] is True,
        int(value["attempts"]),
        _time(value["tried"]),
    )


def _time(value: str) -> datetime:
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError(f"{value} has no zone")
    return time
