"""Requests made before the first is sent, so that making them costs the measurement nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, islice

from stillroom._protocol.messages import build
from stillroom._protocol.texts import utf8_bytes, with_texts
from stillroom._protocol.vectors import malformed
from stillroom.bench.plan import RPCS
from stillroom.errors import InvalidArgument, from_status
from stillroom.internal.v1.embedding_wire_pb2 import WireEmbeddings
from stillroom.v1 import embedding_service_pb2 as pb

# What is kept of a larger file.
MAX_TEXTS = 1 << 17
MAX_BYTES = 32 << 20


@dataclass(frozen=True)
class Messages:
    """Serialized requests of ``size`` texts each, sent in turn, again and again. Their texts are
    ``texts`` different places of the source, which was longer when ``cut``."""

    data: list[bytes]
    size: int
    texts: int
    cut: bool
    mode: str

    def at(self, index: int) -> bytes:
        """Message ``index`` of an endless series."""
        return self.data[index % len(self.data)]

    def answer(self, data: bytes) -> WireEmbeddings:
        """The embeddings in an answer; raises the error in it, or Internal when it is neither."""
        parsed = RPCS[self.mode].parse(data)
        if parsed.HasField("error"):
            raise from_status(parsed.error)
        found: WireEmbeddings = parsed.embeddings
        if found.vectors.count != self.size:
            raise malformed(f"{found.vectors.count} vectors for {self.size} texts")
        return found


def make_messages(
    texts: Iterable[str], size: int, mode: str, model: str, options: pb.EmbedOptions
) -> Messages:
    """Messages of ``size`` texts that go through ``texts`` in turn, and at its end begin again.

    At most MAX_TEXTS or MAX_BYTES of UTF-8 are read. InvalidArgument when there is no text, or when
    one message would be larger than that.
    """
    if not 1 <= size <= MAX_TEXTS:
        raise InvalidArgument(
            f"texts_per_message is {size}; it must be 1 to {MAX_TEXTS:,}",
            field="texts_per_message",
        )
    kept, total, cut = _first(texts)
    if not kept:
        raise InvalidArgument("there are no texts to send", reason="NO_TEXTS", field="file")
    count = -(-len(kept) // size)
    # The last message begins again with the first texts; with few texts all of it is repeats.
    if total / len(kept) * size > MAX_BYTES:
        raise InvalidArgument(
            f"{size:,} texts of this length make a message of more than {MAX_BYTES >> 20} MiB",
            field="texts_per_message",
        )
    kind = RPCS[mode].request
    endless = cycle(kept)
    made = []
    for _ in range(count):
        request = build(kind, model=model, options=options)
        made.append(with_texts(request, list(islice(endless, size)), 0).SerializeToString())
    return Messages(made, size, len(kept), cut, mode)


def _first(texts: Iterable[str]) -> tuple[list[str], int, bool]:
    """The texts that are kept, their bytes, and whether there were more."""
    kept: list[str] = []
    total = 0
    for text in texts:
        size = utf8_bytes(text)
        if len(kept) == MAX_TEXTS or (kept and total + size > MAX_BYTES):
            return kept, total, True
        kept.append(text)
        total += size
    return kept, total, False
