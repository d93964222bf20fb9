"""Texts of a request that are too many for a database row, as uploads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from stillroom_registry.errors import StillroomError
from stillroom_server.operations.model import Json
from stillroom_server.rpc.fields import at_field
from stillroom_server.uploads.mentions import mentioned
from stillroom_server.uploads.model import UploadHeader
from stillroom_server.uploads.store import UploadStore
from stillroom_server.uploads.writer import MAX_CHUNK_BYTES


class Spool:
    """Makes uploads in a ``with`` block; on leaving it, those that no kept request mentions are
    deleted. With ``dry`` it makes none."""

    def __init__(self, uploads: UploadStore, *, dry: bool = False) -> None:
        self._uploads = uploads
        self.dry = dry
        self._made: list[str] = []
        self._kept: set[str] = set()

    def lines(self, lines: Iterable[str], filename: str, field: str) -> Json:
        """``{"upload", "file"}`` of a UTF-8 file of ``lines``, none of which may hold a line break.

        Raises ResourceExhausted on ``field`` when there is no room for it.
        """
        if self.dry:
            return {}
        data = "".join(f"{line}\n" for line in lines).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        header = UploadHeader(total_bytes=len(data), digest=digest, filename=filename)
        with at_field(field), self._uploads.begin(header) as writer:
            self._made.append(writer.name)
            for chunk in _chunks(data):
                writer.write(chunk)
            info = writer.finish()
            return {"upload": info.name, "file": str(self._uploads.open(info.name))}

    def keep(self, request: Json) -> None:
        """The uploads that ``request`` mentions stay."""
        self._kept.update(mentioned(request))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name in self._made:
            if name not in self._kept:
                with suppress(StillroomError):  # it expires like any other
                    self._uploads.delete(name)


def _chunks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), MAX_CHUNK_BYTES):
        yield data[start : start + MAX_CHUNK_BYTES]
