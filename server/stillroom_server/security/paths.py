"""Which folders of this machine a request may name.

The operator lists roots; an empty list allows nothing. A path is resolved first, must then lie in a
root, and is opened from the root downwards, one component at a time, never through a symbolic link:
whoever swaps a link in after the check gets an error instead of another folder. What is copied is
copied from the descriptor so opened, never from the path again.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stillroom_registry.errors import InvalidArgument, NotFound, PermissionDenied, StillroomError

_OPEN = os.O_RDONLY | os.O_CLOEXEC


class AllowedRoots:
    """Folders below which requests may read.

    ``field`` in every method names the request's field in the errors: InvalidArgument (BAD_PATH,
    NOT_A_FOLDER), PermissionDenied (PATH_NOT_ALLOWED), NotFound (PATH_NOT_FOUND). A path outside
    the roots is PermissionDenied whether it exists or not.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = tuple(Path(os.path.realpath(root)) for root in roots)

    def check(self, path: str | Path, *, field: str = "source.path") -> Path:
        """The real path of a folder inside a root. To read it, open it: this is only an early
        answer for the caller."""
        real, _ = self._locate(path, field)
        try:
            folder = stat.S_ISDIR(real.stat().st_mode)
        except OSError as error:
            raise _unreadable(error, field) from error
        if not folder:
            raise InvalidArgument(
                "the path is no folder; name the folder that holds the model",
                reason="NOT_A_FOLDER",
                field=field,
            )
        return real

    def check_file(self, path: str | Path, *, field: str = "source.path") -> Path:
        """The real path of a regular file inside a root, as early an answer as ``check``."""
        os.close(self.open_file(path, field=field))
        real, _ = self._locate(path, field)
        return real

    @contextmanager
    def open_folder(
        self, path: str | Path, *, field: str = "source.path"
    ) -> Iterator[tuple[int, Path]]:
        """A descriptor of the folder, closed on leaving the block, and its real path."""
        self.check(path, field=field)
        real, root = self._locate(path, field)
        descriptor = self._open(real, root, os.O_DIRECTORY, field)
        try:
            yield descriptor, real
        finally:
            os.close(descriptor)

    def open_file(self, path: str | Path, *, field: str = "source.path") -> int:
        """A descriptor of a regular file inside a root; the caller closes it."""
        real, root = self._locate(path, field)
        # Without O_NONBLOCK, a pipe put in the file's place would hang the open.
        descriptor = self._open(real, root, os.O_NONBLOCK, field)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvalidArgument(
                f"{real.name!r} is no regular file", reason="NOT_A_FILE", field=field
            )
        return descriptor

    def _locate(self, path: str | Path, field: str) -> tuple[Path, Path]:
        """The real path and the root in which it lies."""
        text = str(path)
        if not text.startswith("/") or "\0" in text:
            raise InvalidArgument(
                "the path must be absolute, as the server sees it", reason="BAD_PATH", field=field
            )
        real = Path(os.path.realpath(text))
        for root in self._roots:
            if real.is_relative_to(root):
                return real, root
        raise PermissionDenied(
            "the path lies outside the folders that this server may read; ask its operator to add "
            "one with --allow-root, or upload the files",
            reason="PATH_NOT_ALLOWED",
            field=field,
        )

    def _open(self, real: Path, root: Path, flags: int, field: str) -> int:
        """Opens ``real`` from ``root`` downwards; ``flags`` are for its last component."""
        parts = real.relative_to(root).parts
        try:
            descriptor = os.open(root, _OPEN | os.O_DIRECTORY)
        except OSError as error:
            raise _unreadable(error, field) from error
        for number, part in enumerate(parts, start=1):
            last = flags if number == len(parts) else os.O_DIRECTORY
            try:
                inner = os.open(part, _OPEN | os.O_NOFOLLOW | last, dir_fd=descriptor)
            except OSError as error:
                raise _unreadable(error, field) from error
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor


def _unreadable(error: OSError, field: str) -> StillroomError:
    if error.errno == errno.ENOENT:
        return NotFound("the path does not exist", reason="PATH_NOT_FOUND", field=field)
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return PermissionDenied(
            "the path became a symbolic link while it was opened",
            reason="PATH_NOT_ALLOWED",
            field=field,
        )
    return PermissionDenied(
        f"the server may not read the path: {error.strerror}",
        reason="PATH_UNREADABLE",
        field=field,
    )
