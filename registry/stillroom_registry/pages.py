"""Page tokens: where the last page ended, and for which list."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from stillroom_registry.errors import InvalidArgument

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000
_MAX_INTEGER = 2**63 - 1  # what the database takes


def page_limit(page_size: int) -> int:
    """0 is the default, more than the maximum counts as it; negative is InvalidArgument."""
    if page_size < 0:
        raise InvalidArgument(
            f"A page of {page_size} items cannot be; leave page_size out or give 1 to "
            f"{MAX_PAGE_SIZE}.",
            reason="BAD_PAGE_SIZE",
            field="page_size",
        )
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def make_token(listing: str, last: str | int) -> str:
    """The token of the page after ``last``, good only for the same ``listing``."""
    return base64.urlsafe_b64encode(json.dumps([listing, last]).encode()).decode().rstrip("=")


def read_token(listing: str, token: str, kind: type[Any]) -> Any:
    """What ``make_token`` was given, None for the first page; or InvalidArgument."""
    if not token:
        return None
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        found, last = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        found, last = None, None
    if found != listing or type(last) is not kind or not _fits(last):
        raise bad_token()
    return last


def bad_token() -> InvalidArgument:
    """What a caller is told who brings another list's token, or one of his own making."""
    return InvalidArgument(
        "The page token is not one that this list gave, with these filters; begin again "
        "without a token.",
        reason="BAD_PAGE_TOKEN",
        field="page_token",
    )


def _fits(last: str | int) -> bool:
    """Whether the database takes it: JSON also holds longer integers and lone surrogates."""
    if isinstance(last, int):
        return -_MAX_INTEGER <= last <= _MAX_INTEGER
    try:
        last.encode()
    except UnicodeEncodeError:
        return False
    return True
