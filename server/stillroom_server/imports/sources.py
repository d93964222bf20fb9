"""Where an import reads from: a folder of the server, an upload, or a repository of the Hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from stillroom_registry.errors import InvalidArgument
from stillroom_server.imports.archive import unpack_upload
from stillroom_server.imports.copying import copy_folder
from stillroom_server.imports.selection import Budget, SkippedFile
from stillroom_server.imports.settings import ImportSettings
from stillroom_server.security.paths import AllowedRoots

OnProgress: TypeAlias = Callable[[int, int], None]
"""Told bytes done and bytes in all (0: not known); may raise to stop."""


@dataclass(frozen=True)
class PathSource:
    path: str


@dataclass(frozen=True)
class UploadSource:
    upload: str
    file: Path


@dataclass(frozen=True)
class HubSource:
    repo: str
    revision: str | None


Source: TypeAlias = PathSource | UploadSource | HubSource


@dataclass(frozen=True)
class Fetched:
    """``origin`` is JSON for the version's metadata: where the files are from, in full."""

    origin: Mapping[str, Any]
    skipped: list[SkippedFile]


def parse_source(value: object, field: str = "source") -> Source:
    """The one source that a request names, as the server queued it. Raises InvalidArgument."""
    match value:
        case {"path": str(path), **rest} if not rest:
            return PathSource(path)
        case {"upload": str(upload), "file": str(file), **rest} if not rest:
            return UploadSource(upload, Path(file))
        case {"hub": {"repo": str(repo), **details}, **rest} if not rest:
            revision = details.get("revision")
            if revision is None or isinstance(revision, str):
                return HubSource(repo, revision or None)
    raise InvalidArgument(
        "one of path, upload and hub must be set", reason="SOURCE_REQUIRED", field=field
    )


def fetch(
    source: Source,
    destination: Path,
    settings: ImportSettings,
    on_progress: OnProgress,
    *,
    keep: Path,
    field: str = "source",
    on_fetched: Callable[[int], None] = lambda _: None,
) -> Fetched:
    """Brings the wanted files of ``source`` into ``destination``, an empty folder. What takes long
    to bring is in ``keep`` first, a folder beside it that outlasts the call. ``on_fetched`` is told
    the bytes that came over the network.

    Raises what ``copy_folder``, ``unpack_upload`` and ``hub.download`` raise.
    """
    budget = Budget(settings.max_files, settings.max_bytes, field)
    done = 0

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        on_progress(done, 0)

    match source:
        case PathSource(path):
            roots = AllowedRoots(settings.allow_root)
            skipped = copy_folder(roots, path, destination, budget, on_bytes, field=f"{field}.path")
            return Fetched({"path": path}, skipped)
        case UploadSource(upload, file):
            skipped = unpack_upload(file, destination, budget, on_bytes, field=f"{field}.upload")
            return Fetched({"upload": upload}, skipped)
        case HubSource(repo, revision):
            from stillroom_server.imports.hub import download

            snapshot = download(
                repo,
                revision,
                destination,
                budget,
                access=settings.access(),
                keep=keep,
                on_bytes=on_progress,
                on_fetched=on_fetched,
            )
            origin = {"hub": {"repo": repo, "revision": revision, "commit": snapshot.commit}}
            return Fetched(origin, snapshot.skipped)
