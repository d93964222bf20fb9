"""Unpacks an uploaded tar without trusting a byte of it."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, cast

from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_registry.safe_files import check_path
from stillroom_server.imports.copying import CHUNK, OnBytes
from stillroom_server.imports.selection import Budget, SkippedFile, skip_reason

OTHER = "not asked for"
# The longest thing the tar module reads in one piece is an extended header.
_MAX_READ = 4 << 20


def unpack_upload(
    tar_path: Path,
    destination: Path,
    budget: Budget,
    on_bytes: OnBytes,
    *,
    field: str = "source.upload",
    exactly: Collection[str] | None = None,
) -> list[SkippedFile]:
    """Unpacks the wanted files of a tar, plain or gzipped, into ``destination``.

    One folder around everything is taken away. With ``exactly``, the files of these names are
    unpacked under them, and any other is left out. Sizes are counted as they are declared and
    before anything is written, of files left out too. The answer is the files left out. Raises
    InvalidArgument: NOT_AN_ARCHIVE, ARCHIVE_CORRUPT, UNSAFE_FILE (a link, a device, a path that is
    absolute or climbs, a name given twice), IMPORT_TOO_LARGE; NotFound (UPLOAD_NOT_FOUND).
    """
    skipped: list[SkippedFile] = []
    try:
        with _plain(tar_path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            members = list(_members(tar, budget, field))
            top = "" if exactly is not None else _common_folder([name for name, _ in members])
            for full, member in members:
                name = full.removeprefix(top)
                if reason := _reason(name, exactly):
                    skipped.append(SkippedFile(name, reason))
                else:
                    _write(tar, member, destination / name, on_bytes)
    except FileNotFoundError as error:
        raise NotFound(
            "the upload is gone; upload the files again", reason="UPLOAD_NOT_FOUND", field=field
        ) from error
    except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the archive's
        raise InvalidArgument(
            f"the upload is no sound tar archive: {error}; pack the model's folder with tar",
            reason="ARCHIVE_CORRUPT",
            field=field,
        ) from error
    if not any(destination.iterdir()):
        raise InvalidArgument(
            "the archive holds no file of a model", reason="NOT_A_MODEL", field=field
        )
    return skipped


class _Bounded(io.RawIOBase):
    """Refuses to read much in one piece, which only a hostile header asks for."""

    def __init__(self, inner: IO[bytes]) -> None:
        self._inner = inner

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _MAX_READ:
            raise tarfile.ReadError("a header is too long")
        return self._inner.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._inner.close()
        super().close()


def _plain(path: Path) -> _Bounded:
    raw = path.open("rb")
    if raw.read(2) == b"\x1f\x8b":
        raw.close()
        return _Bounded(cast("IO[bytes]", gzip.open(path, "rb")))
    raw.seek(0)
    return _Bounded(raw)


def _members(
    tar: tarfile.TarFile, budget: Budget, field: str
) -> Iterator[tuple[str, tarfile.TarInfo]]:
    seen: set[str] = set()
    for member in tar:
        if member.isdir():
            continue
        name = member.name.removeprefix("./")
        check_path(name, field)
        if not member.isreg() or member.issparse():
            raise _unsafe(name, "it is a link, a device or a sparse file", field)
        if name in seen:
            raise _unsafe(name, "it is in the archive twice", field)
        seen.add(name)
        budget.add_file()
        budget.add_bytes(member.size)
        yield name, member


def _reason(name: str, exactly: Collection[str] | None) -> str | None:
    if exactly is None:
        return skip_reason(name)
    return None if name in exactly else OTHER


def _common_folder(names: list[str]) -> str:
    """The one folder, with '/', in which all names lie; '' if there is none."""
    tops = {name.partition("/")[0] for name in names}
    if len(tops) == 1 and all("/" in name for name in names):
        return f"{tops.pop()}/"
    return ""


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, on_bytes: OnBytes) -> None:
    source = tar.extractfile(member)
    if source is None:  # pragma: no cover - only for what is no regular file
        raise tarfile.ReadError("a member has no content")
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("xb") as out:
        while chunk := source.read(CHUNK):
            out.write(chunk)
            on_bytes(len(chunk))


def _unsafe(name: str, why: str, field: str) -> InvalidArgument:
    return InvalidArgument(f"{name[:200]!r} is refused: {why}", reason="UNSAFE_FILE", field=field)
