"""How much fits into one message."""

from __future__ import annotations

from dataclasses import dataclass

from stillroom.errors import InvalidArgument
from stillroom.v1 import server_service_pb2 as pb

# An answer to so many texts fits the usual limit of a unary answer at any common width.
UNARY_TEXTS = 128
_BYTES = 1 << 20

_TOO_MUCH = ("TOO_MANY_TEXTS", "REQUEST_TOO_LARGE", "RESPONSE_TOO_LARGE")


@dataclass(frozen=True)
class ItemLimits:
    """The most texts, and UTF-8 bytes of them, that one message should hold."""

    texts: int = 1 << 20
    bytes: int = _BYTES


def item_limits(published: pb.ServerLimits) -> ItemLimits:
    """Limits for what a server publishes; unset ones are none. Half of a message is left for
    options, prompt and framing."""
    texts, size = published.max_texts, published.max_request_bytes // 2
    return ItemLimits(texts or ItemLimits.texts, min(_BYTES, size) if size > 0 else _BYTES)


def wants_a_stream(error: InvalidArgument) -> bool:
    """Whether a unary request was refused for its size alone."""
    return error.reason in _TOO_MUCH
