"""Copies a model's folder from an open descriptor into a folder of ours."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_registry.safe_files import MAX_DEPTH, check_path
from stillroom_server.imports.selection import Budget, SkippedFile, skip_reason
from stillroom_server.security.paths import AllowedRoots

OnBytes = Callable[[int], None]
"""Told of every chunk's size; may raise to stop."""

CHUNK = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def copy_folder(
    roots: AllowedRoots,
    path: str,
    destination: Path,
    budget: Budget,
    on_bytes: OnBytes,
    *,
    field: str = "source.path",
) -> list[SkippedFile]:
    """Copies the wanted files of the folder ``path``; the ones left out are the answer.

    A symbolic link to a file is read if its target lies in an allowed root as well, as the links of
    the Hugging Face cache do when the whole cache is allowed; a link to a folder is refused. Raises
    what ``AllowedRoots`` and ``Budget`` raise, InvalidArgument (UNSAFE_FILE) for devices, pipes and
    names with tricks, FailedPrecondition (FILE_UNREADABLE).
    """
    skipped: list[SkippedFile] = []
    with roots.open_folder(path, field=field) as (descriptor, real):
        for name, opened in _files(roots, descriptor, real, "", 0, skipped, budget, field):
            check_path(name, field)
            write_from(opened, destination / name, budget, on_bytes)
    return skipped


def write_from(descriptor: int, target: Path, budget: Budget, on_bytes: OnBytes) -> None:
    """Copies an open file into ``target``, which must not exist, within the budget."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        while chunk := os.read(descriptor, CHUNK):
            budget.add_bytes(len(chunk))
            out.write(chunk)
            on_bytes(len(chunk))


def _files(
    roots: AllowedRoots,
    folder: int,
    real: Path,
    prefix: str,
    depth: int,
    skipped: list[SkippedFile],
    budget: Budget,
    field: str,
) -> Iterator[tuple[str, int]]:
    """Path and open descriptor of each wanted file; the rest goes to ``skipped``."""
    if depth > MAX_DEPTH:
        raise InvalidArgument(
            f"the folder is more than {MAX_DEPTH} folders deep; name the model's own folder",
            reason="UNSAFE_FILE",
            field=field,
        )
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.stat(follow_symlinks=False).st_mode) for entry in entries)
    for name, mode in found:
        path = prefix + name
        if stat.S_ISDIR(mode) and not name.startswith("."):
            with _opened(name, os.O_DIRECTORY, folder, field) as inner:
                yield from _files(
                    roots, inner, real / name, path + "/", depth + 1, skipped, budget, field
                )
            continue
        budget.add_file()
        if reason := skip_reason(path):
            skipped.append(SkippedFile(path, reason))
        elif stat.S_ISLNK(mode):
            with _linked(roots, name, folder, real, field) as opened:
                yield path, opened
        else:
            with _opened(name, os.O_NONBLOCK, folder, field) as opened:
                if not stat.S_ISREG(os.fstat(opened).st_mode):
                    raise InvalidArgument(
                        f"{path[:200]!r} is no regular file; remove it from the folder",
                        reason="UNSAFE_FILE",
                        field=field,
                    )
                yield path, opened


@contextmanager
def _linked(roots: AllowedRoots, name: str, folder: int, real: Path, field: str) -> Iterator[int]:
    target = os.readlink(name, dir_fd=folder)
    opened = roots.open_file(os.path.join(real, target), field=field)  # noqa: PTH118 absolute wins
    try:
        yield opened
    finally:
        os.close(opened)


@contextmanager
def _opened(name: str, flags: int, folder: int, field: str) -> Iterator[int]:
    try:
        opened = os.open(name, _OPEN | flags, dir_fd=folder)
    except OSError as error:
        reason = (
            "it changed while it was being copied"
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENOENT)
            else error.strerror
        )
        raise FailedPrecondition(
            f"{name[:200]!r} cannot be read: {reason}", reason="FILE_UNREADABLE", field=field
        ) from error
    try:
        yield opened
    finally:
        os.close(opened)
