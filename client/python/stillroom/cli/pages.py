"""Pages that commands write."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, page: str) -> None:
    """Writes a page; errors of the disk are those of the client."""
    from stillroom.local_folder import translated

    with translated(path):
        path.write_text(page, encoding="utf-8")
