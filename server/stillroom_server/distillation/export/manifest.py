"""stillroom.json: what a model is, where it comes from, and a digest of every other file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillroom_registry.errors import DataLoss

MANIFEST = "stillroom.json"
FORMAT = 1


def write_manifest(
    folder: Path,
    *,
    kind: str,
    lineage: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> None:
    """Writes stillroom.json, over an older one, with the sha256 (hex) of every other file."""
    body = {
        "format": FORMAT,
        "kind": kind,
        "lineage": dict(lineage),
        "options": dict(options or {}),
        "metrics": dict(metrics or {}),
        "files": _digests(folder),
    }
    write_json(folder / MANIFEST, body)


def reseal(folder: Path, *, metrics: Mapping[str, Any] | None = None) -> None:
    """Takes the digests again after files were added or rewritten; adds to the metrics if given.

    Raises DataLoss if the manifest cannot be read.
    """
    try:
        body = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        body["metrics"] = {**body.get("metrics", {}), **(metrics or {})}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataLoss(f"{MANIFEST} cannot be read: {error}", reason="FILE_CORRUPT") from error
    body["files"] = _digests(folder)
    write_json(folder / MANIFEST, body)


def write_json(path: Path, value: object) -> None:
    """UTF-8 JSON, the same bytes for the same value."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    digests = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        if name != MANIFEST:
            with path.open("rb") as stream:
                digests[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digests
