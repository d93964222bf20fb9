"""Page tokens of operation lists: opaque to clients, bound to the filter that they continue."""

from __future__ import annotations

import base64
import binascii
import json

from stillroom_registry.errors import InvalidArgument

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000


def checked_page_size(page_size: int) -> int:
    """0 is the default, more than the maximum is the maximum, below 0 is refused."""
    if page_size < 0:
        raise InvalidArgument(
            f"page_size is {page_size}; give 1 to {MAX_PAGE_SIZE}, or 0 for {DEFAULT_PAGE_SIZE}.",
            field="page_size",
        )
    return min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def encode_page_token(last_sequence: int, state: str | None, kind: str | None) -> str:
    raw = json.dumps([last_sequence, state, kind], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_page_token(token: str, state: str | None, kind: str | None) -> int:
    """The sequence that the last page ended with. Raises InvalidArgument (field page_token)."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        last_sequence, token_state, token_kind = json.loads(raw)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise _bad_token("page_token is damaged") from None
    if type(last_sequence) is not int or not 0 < last_sequence < 2**63:
        raise _bad_token("page_token is damaged")
    if (token_state, token_kind) != (state, kind):
        raise _bad_token("page_token belongs to a list with another filter")
    return last_sequence


def _bad_token(problem: str) -> InvalidArgument:
    return InvalidArgument(
        f"{problem}; give the next_page_token of the page before with the same filter, or none "
        "to begin again.",
        reason="INVALID_PAGE_TOKEN",
        field="page_token",
    )
