"""Whether a downloaded file is the one that the Hub listed.

huggingface_hub accepts a download of the right size with the wrong bytes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import DataLoss

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling


@dataclass(frozen=True)
class ListedFile:
    """A file of a repository: its ``size`` in bytes, the ``sha256`` of a large one, git's
    ``blob_id`` of a small one; None: not told."""

    path: str
    size: int | None
    sha256: str | None
    blob_id: str | None

    @classmethod
    def of(cls, sibling: RepoSibling) -> ListedFile:
        lfs: Any = sibling.lfs
        sha256 = None if lfs is None else lfs.sha256
        return cls(sibling.rfilename, sibling.size, sha256, sibling.blob_id)


def verify(path: Path, file: ListedFile, field: str) -> None:
    """Raises DataLoss (HUB_FILE_CORRUPT) and removes ``path`` if it is not ``file``."""
    with path.open("rb") as stream:
        if file.sha256 is not None:
            same = hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
        elif file.blob_id is not None:
            size = path.stat().st_size
            digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
            same = digest.hexdigest() == file.blob_id
        else:
            same = file.size is None or path.stat().st_size == file.size
    if not same:
        path.unlink()
        raise DataLoss(
            f"{file.path} arrived damaged from the Hub; try again",
            reason="HUB_FILE_CORRUPT",
            field=field,
            metadata={"file": file.path[:200]},
        )
