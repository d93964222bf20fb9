"""What an upload is, and which headers and names are acceptable. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from stillroom_registry.errors import InvalidArgument

MAX_FILENAME_BYTES = 255

_ID = re.compile(r"[a-z0-9]{20,64}", re.ASCII)
_PREFIX = "uploads/"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)


class UploadFormat(StrEnum):
    """What the bytes are."""

    FILE = "file"
    TAR = "tar"


@dataclass(frozen=True)
class UploadHeader:
    """What a stream says before its bytes.

    ``upload`` is empty for a new upload, else the name of the one to go on with; ``offset`` is
    where the first chunk belongs; ``total_bytes`` the size of the whole; ``digest`` that of the
    whole as ``sha256:{hex}``, or empty for no check; ``filename`` is for people only. A resuming
    header may leave ``digest`` and ``filename`` empty, which keeps what the first one said.
    """

    total_bytes: int
    upload: str = ""
    offset: int = 0
    digest: str = ""
    format: UploadFormat = UploadFormat.FILE
    filename: str = ""


@dataclass(frozen=True)
class UploadInfo:
    """The state of an upload. ``committed_bytes`` is what a crash cannot take back; ``digest`` is
    ``sha256:{hex}`` of the whole once ``complete``, else empty."""

    name: str
    format: UploadFormat
    filename: str
    total_bytes: int
    committed_bytes: int
    complete: bool
    digest: str
    expire_time: datetime


def is_id(text: str) -> bool:
    """Whether a folder so named can be that of an upload."""
    return _ID.fullmatch(text) is not None


def parse_name(name: str, field: str = "name") -> str:
    """The id in ``uploads/{id}``, safe as a folder's name. InvalidArgument names ``field``."""
    upload_id = name.removeprefix(_PREFIX)
    if upload_id == name or not is_id(upload_id):
        raise InvalidArgument(
            f"{name[:100]!r} is no name of an upload; pass what Upload answered: uploads/ and an "
            "id of lower-case letters and digits.",
            reason="INVALID_UPLOAD_NAME",
            field=field,
        )
    return upload_id


def check_header(header: UploadHeader) -> None:
    """InvalidArgument when the header is wrong whatever the state of the store."""
    if header.upload:
        parse_name(header.upload, "header.upload")
    if header.total_bytes <= 0:
        raise InvalidArgument(
            "total_bytes must be the size of the whole file, and an empty file is of no use.",
            reason="INVALID_TOTAL_BYTES",
            field="header.total_bytes",
        )
    if header.digest and not _DIGEST.fullmatch(header.digest):
        raise InvalidArgument(
            "digest must be sha256: and 64 lower-case hexadecimal digits, or empty.",
            reason="INVALID_DIGEST",
            field="header.digest",
        )
    if not _is_plain(header.filename):
        raise InvalidArgument(
            "filename must be a name without folders and control characters, of at most "
            f"{MAX_FILENAME_BYTES} bytes in UTF-8.",
            reason="INVALID_FILENAME",
            field="header.filename",
        )


def wrong_offset(expected: int, given: int) -> InvalidArgument:
    """The error for a stream that does not start where the upload ends."""
    return InvalidArgument(
        f"The upload has {expected} committed bytes, so the stream must start at offset "
        f"{expected}, not {given}; ask GetUpload before resuming.",
        reason="OFFSET_MISMATCH",
        field="header.offset",
        metadata={"committed_bytes": str(expected)},
    )


def _is_plain(filename: str) -> bool:
    try:
        size = len(filename.encode())
    except UnicodeEncodeError:
        return False
    return (
        size <= MAX_FILENAME_BYTES
        and filename not in (".", "..")
        and not any(c in "/\\" or ord(c) < 32 or ord(c) == 127 for c in filename)
    )
