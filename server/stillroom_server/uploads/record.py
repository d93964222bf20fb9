"""What is remembered of an upload between streams and across crashes: its ``meta.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from stillroom_server.uploads.model import UploadFormat, UploadHeader, UploadInfo

_VERSION = 1


@dataclass(frozen=True)
class Record:
    """One upload as last committed. ``expected_digest`` is what the client announced, ``digest``
    what was computed; either may be empty."""

    total_bytes: int
    format: UploadFormat
    filename: str
    expected_digest: str
    committed_bytes: int
    digest: str
    complete: bool
    expire_time: datetime

    @classmethod
    def new(cls, header: UploadHeader, expire_time: datetime) -> Record:
        """The record of an upload of which no byte has arrived."""
        return cls(
            total_bytes=header.total_bytes,
            format=header.format,
            filename=header.filename,
            expected_digest=header.digest,
            committed_bytes=0,
            digest="",
            complete=False,
            expire_time=expire_time,
        )

    def info(self, name: str) -> UploadInfo:
        return UploadInfo(
            name=name,
            format=self.format,
            filename=self.filename,
            total_bytes=self.total_bytes,
            committed_bytes=self.committed_bytes,
            complete=self.complete,
            digest=self.digest if self.complete else "",
            expire_time=self.expire_time,
        )


def encode(record: Record) -> bytes:
    document = asdict(record) | {
        "version": _VERSION,
        "expire_time": record.expire_time.isoformat(),
    }
    return json.dumps(document).encode()


def decode(content: bytes) -> Record:
    """The record in ``content``; ValueError when it is none of ours."""
    try:
        document = json.loads(content)
        if document.pop("version") != _VERSION:
            raise ValueError("written by another release")
        document["format"] = UploadFormat(document["format"])
        document["expire_time"] = datetime.fromisoformat(document["expire_time"])
        return Record(**document)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not the record of an upload: {error!r}") from error
