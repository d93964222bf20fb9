"""What is on its way on a stream: the order, the bound, and what to send again."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from stillroom._protocol.batches import Batch
from stillroom._protocol.rpcs import Rpc
from stillroom.errors import Internal, StillroomError, Unavailable, from_status

B = TypeVar("B", bound=Batch)
_TEXT_INDEX = re.compile(r"\btexts\[(\d+)\]")


@dataclass(frozen=True)
class TextStream(Generic[B]):
    """A bidirectional RPC that is sent texts and answers each item by one message.

    rpc     the RPC; its messages have the fields of EmbedStreamRequest and EmbedStreamResponse
    result  the field of an answer that is not an error
    batch   makes what the client hands out of that field, from the first text to the last
            (exclusive); Internal where it makes no sense
    failed  makes it of an error
    """

    rpc: Rpc[Any, Any]
    result: str
    batch: Callable[[int, int, Any], B]
    failed: Callable[[int, int, StillroomError], B]


@dataclass(frozen=True, slots=True)
class Item:
    """A message that was sent: its serialized bytes and which texts it holds."""

    sequence: int
    start: int
    stop: int
    data: bytes


class Window(Generic[B]):
    """Items of ``stream`` sent and not answered yet, oldest first; at most ``size``.

    Each item is whole in itself (it names its model), so that any of them can begin a new stream.
    """

    def __init__(self, size: int, stream: TextStream[B]) -> None:
        self._size = size
        self._stream = stream
        self._items: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @property
    def full(self) -> bool:
        """Whether to read an answer before sending more."""
        return len(self._items) >= self._size

    def sent(self, item: Item) -> None:
        """Remembers ``item`` until it is answered."""
        self._items.append(item)

    def answered(self, answer: Message) -> B:
        """The batch that ``answer`` makes of the oldest item.

        Raises Unavailable when the item failed with that: it then still counts as unanswered, and
        goes out again on a new stream. Raises Internal for an answer to anything but the oldest.
        """
        item = self._items[0]
        given: Any = answer
        kind = given.WhichOneof("result")
        # A message that the server could not parse is refused without the id in it.
        nameless = kind == "error" and not given.correlation_id
        if given.correlation_id != str(item.sequence) and not nameless:
            raise Internal(
                f"the server answered item {given.correlation_id!r} when {item.sequence} was next",
                reason="OUT_OF_ORDER",
            )
        if kind == "error":
            error = shifted(from_status(given.error), item.start)
            if isinstance(error, Unavailable):
                raise error
            batch = self._stream.failed(item.start, item.stop, error)
        elif kind == self._stream.result:
            batch = self._stream.batch(item.start, item.stop, getattr(given, kind))
        else:
            raise Internal("the server sent an empty answer", reason="MALFORMED_ANSWER")
        self._items.popleft()
        return batch


def shifted(error: StillroomError, start: int) -> StillroomError:
    """``error`` with ``texts[i]`` counted from the caller's first text, not from the item's."""

    def shift(match: re.Match[str]) -> str:
        return f"texts[{int(match[1]) + start}]"

    if start == 0:
        return error
    message = _TEXT_INDEX.sub(shift, error.message)
    return type(error)(
        message,
        reason=error.reason,
        field=None if error.field is None else _TEXT_INDEX.sub(shift, error.field),
        metadata=error.metadata,
        retry_after=error.retry_after,
    )
