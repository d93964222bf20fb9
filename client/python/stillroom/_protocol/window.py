"""What is on its way on a stream: the order, the bound, and what to send again."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from stillroom.embeddings import EmbedBatch, FailedBatch
from stillroom.errors import Internal, StillroomError, Unavailable, from_status
from stillroom.internal.v1.embedding_wire_pb2 import WireEmbedResponse

_TEXT_INDEX = re.compile(r"\btexts\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class Item:
    """A message that was sent: its serialized bytes and which texts it holds."""

    sequence: int
    start: int
    stop: int
    data: bytes


class Window:
    """Items sent and not answered yet, oldest first; at most ``size``.

    Each item is whole in itself (it names its model), so that any of them can begin a new stream.
    """

    def __init__(self, size: int) -> None:
        self._size = size
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

    def answered(self, answer: WireEmbedResponse) -> EmbedBatch:
        """The batch that ``answer`` makes of the oldest item.

        Raises Unavailable when the item failed with that: it then still counts as unanswered, and
        goes out again on a new stream. Raises Internal for an answer to anything but the oldest.
        """
        item = self._items[0]
        kind = answer.WhichOneof("result")
        # A message that the server could not parse is refused without the id in it.
        nameless = kind == "error" and not answer.correlation_id
        if answer.correlation_id != str(item.sequence) and not nameless:
            raise Internal(
                f"the server answered item {answer.correlation_id!r} when {item.sequence} was next",
                reason="OUT_OF_ORDER",
            )
        if kind == "error":
            error = shifted(from_status(answer.error), item.start)
            if isinstance(error, Unavailable):
                raise error
            batch: EmbedBatch = FailedBatch(item.start, item.stop, error)
        elif kind == "embeddings":
            batch = EmbedBatch(item.start, item.stop, answer.embeddings)
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
