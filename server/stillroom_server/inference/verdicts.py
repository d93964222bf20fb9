"""Remembers what a costly check found, by a key of everything that the finding depends on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Protocol

Verdict = Mapping[str, str]

MAX_VERDICTS = 512
_MAX_BYTES = 16384


class Verdicts(Protocol):
    """A store of verdicts. Losing one only costs the check again, so no method ever fails."""

    def get(self, key: str) -> Verdict | None: ...

    def put(self, key: str, verdict: Verdict) -> None: ...


class MemoryVerdicts:
    """Verdicts of this process, at most ``MAX_VERDICTS``; then it starts anew."""

    def __init__(self) -> None:
        self._verdicts: dict[str, Verdict] = {}

    def get(self, key: str) -> Verdict | None:
        return self._verdicts.get(key)

    def put(self, key: str, verdict: Verdict) -> None:
        if len(self._verdicts) >= MAX_VERDICTS:
            self._verdicts.clear()
        self._verdicts[key] = dict(verdict)


class FileVerdicts:
    """Verdicts in a folder, a small JSON file each; beyond ``MAX_VERDICTS`` the oldest go.

    Whoever can write the folder can have a wrong tokenizer chosen, so it belongs in the data
    directory and nowhere public.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: str) -> Verdict | None:
        try:
            with self._file(key).open("rb") as stream:
                found = json.loads(stream.read(_MAX_BYTES))
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or found.get("key") != key:
            return None
        return {name: str(value) for name, value in found.items() if name != "key"}

    def put(self, key: str, verdict: Verdict) -> None:
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".verdict-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as stream:
                    json.dump({**verdict, "key": key}, stream)
                # No fsync: a file torn by a power cut does not parse, and is checked for again.
                Path(name).replace(self._file(key))
            except OSError:
                Path(name).unlink(missing_ok=True)
                raise
            self._prune()

    def _file(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"

    def _prune(self) -> None:
        files = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for file in files[:-MAX_VERDICTS]:
            file.unlink(missing_ok=True)


def versions(*distributions: str) -> str:
    """``name==version`` of each distribution, for a key; ``name==none`` where not installed."""
    return " ".join(f"{name}=={_version(name)}" for name in distributions)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
