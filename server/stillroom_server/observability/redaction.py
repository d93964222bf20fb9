"""Keeps secrets out of the logs: by type, by the key they stand under, and by their look."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

from stillroom_server.security.secret import STARS, Secret

# Words of a key, so that `tokens` and `max_tokens`, which count, stay readable.
_WORDS = {"token", "authorization", "password", "passwd", "passphrase", "secret", "cookie"}
_WORDS |= {"credential", "credentials", "apikey", "bearer"}
_PAIRS = {("api", "key"), ("private", "key"), ("access", "key")}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+", re.ASCII)
_BEARER = re.compile(r"\b(bearer)\s+[\x21-\x7e]{16,}", re.IGNORECASE | re.ASCII)
# Deeper is cut off: what is logged is small, and a cycle must end.
_MAX_DEPTH = 8


def is_sensitive(key: str) -> bool:
    """Whether the value under ``key`` may be a secret, by the words of the key."""
    words = [word.lower() for word in _WORD.findall(key)]
    return not _WORDS.isdisjoint(words) or not _PAIRS.isdisjoint(pairwise(words))


def redact(value: object, key: str = "", depth: int = 0) -> object:
    """``value`` with stars for what must not be read; numbers and booleans are no secrets."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, Secret) or is_sensitive(key):
        return STARS
    if isinstance(value, str):
        return _BEARER.sub(rf"\1 {STARS}", value)
    if isinstance(value, (bytes, bytearray)):
        return _BEARER.sub(rf"\1 {STARS}", bytes(value).decode(errors="backslashreplace"))
    if depth >= _MAX_DEPTH:
        return "..."
    if isinstance(value, Mapping):
        return {str(k): redact(v, str(k), depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = list(value)
        # A pair, as gRPC and HTTP hand over headers.
        if isinstance(value, tuple) and len(items) == 2:
            head = items[0].decode(errors="replace") if isinstance(items[0], bytes) else items[0]
            if isinstance(head, str) and is_sensitive(head):
                return [head, redact(items[1], head, depth + 1)]
        return [redact(item, "", depth + 1) for item in items]
    return _BEARER.sub(rf"\1 {STARS}", repr(value))
