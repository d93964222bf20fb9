"""The manifest: which path holds which bytes. Its digest names a version's whole content.

Canonical JSON (sorted, no spaces, ASCII), so that equal content has an equal digest on any machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from stillroom_registry.values import File

SCHEMA = 1


def manifest_bytes(files: Iterable[File]) -> bytes:
    """The manifest of ``files``, in whatever order they come."""
    entries = [
        {"digest": file.digest, "path": file.path, "size": file.size}
        for file in sorted(files, key=lambda file: file.path)
    ]
    document = {"files": entries, "schema": SCHEMA}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


def manifest_digest(files: Iterable[File]) -> str:
    """``sha256:<hex>`` of ``manifest_bytes``."""
    return "sha256:" + hashlib.sha256(manifest_bytes(files)).hexdigest()
