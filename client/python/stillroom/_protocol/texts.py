"""Texts into messages: what is a text, and how many go into one item."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from google.protobuf.message import Message

from stillroom.errors import InvalidArgument

M = TypeVar("M", bound=Message)

Texts = str | Iterable[str] | AsyncIterable[str]


class Source:
    """Texts of an iterable, blocking or asynchronous, a few at a time.

    ``total`` is how many there are, where that is known.
    """

    def __init__(self, texts: Texts) -> None:
        if isinstance(texts, str):
            texts = [texts]
        if isinstance(texts, bytes | bytearray | memoryview):
            raise InvalidArgument("texts are str, not bytes: decode them first", field="texts")
        self.total: int | None = len(texts) if isinstance(texts, Sequence) else _length(texts)
        self._taken = 0
        self._blocking: Iterator[str] | None = None
        self._async: AsyncIterator[str] | None = None
        if isinstance(texts, Iterable):
            self._blocking = iter(texts)
        elif isinstance(texts, AsyncIterable):
            self._async = aiter(texts)
        else:
            raise InvalidArgument(
                f"texts is {type(texts).__name__}; give a str or an iterable of str", field="texts"
            )

    async def take(self, count: int) -> list[str]:
        """The next ``count`` texts, fewer at the end. InvalidArgument names what is no text."""
        if self._blocking is not None:
            taken = list(islice(self._blocking, count))
        else:
            taken = []
            if self._async is not None:
                async for text in self._async:
                    taken.append(text)
                    if len(taken) == count:
                        break
        if set(map(type, taken)) - {str}:
            for index, text in enumerate(taken, self._taken):
                if not isinstance(text, str):
                    raise InvalidArgument(
                        f"texts[{index}] is {type(text).__name__}, not str",
                        reason="NOT_A_TEXT",
                        field=f"texts[{index}]",
                    )
        self._taken += len(taken)
        return taken


def _length(texts: object) -> int | None:
    try:
        return len(texts)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        return None


def split(texts: list[str], max_bytes: int) -> list[list[str]]:
    """``texts`` in lists of at most ``max_bytes`` of UTF-8; one longer than that stands alone, for
    the server to judge."""
    if sum(map(len, texts)) * 4 <= max_bytes:  # at most four bytes a character
        return [texts]
    parts: list[list[str]] = []
    room = -1
    for text in texts:
        size = utf8_bytes(text)
        if size > room:
            parts.append([])
            room = max_bytes
        parts[-1].append(text)
        room -= size
    return parts


def utf8_bytes(text: str) -> int:
    """Bytes of ``text`` in UTF-8; lone surrogates, which have none, count as three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def with_texts(message: M, texts: list[str], start: int) -> M:
    """``message`` with ``texts`` in its field of that name. ``start`` is the index of the first in
    what the caller gave; InvalidArgument names the one that has no UTF-8."""
    try:
        message.texts.extend(texts)  # type: ignore[attr-defined]
    except UnicodeEncodeError:
        for index, text in enumerate(texts, start):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InvalidArgument(
                    f"texts[{index}] cannot be written as UTF-8: it holds a lone surrogate at"
                    f" character {error.start}. Was it decoded with surrogateescape?",
                    reason="INVALID_UNICODE",
                    field=f"texts[{index}]",
                ) from None
        raise
    return message
