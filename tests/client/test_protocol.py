"""The parts that do no I/O."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import inspect
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillroom._faces import BlockingFace, Method, Stream
from stillroom._flows.embedding import STREAM
from stillroom._protocol import columns, enums, packed, texts, vectors
from stillroom._protocol.deadlines import Backoff, Deadline
from stillroom._protocol.window import Item, Window, shifted
from stillroom.errors import (
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    StillroomError,
    Unavailable,
)
from stillroom.internal.v1 import classification_wire_pb2 as classification_wire
from stillroom.internal.v1 import embedding_wire_pb2 as wire
from stillroom.v1 import classification_service_pb2 as labels
from stillroom.v1 import common_pb2, model_pb2
from stillroom.v1 import embedding_service_pb2 as pb


def test_the_wire_twin_reads_what_the_public_message_writes() -> None:
    public = pb.EmbedStreamResponse(correlation_id="7")
    embeddings = public.embeddings
    embeddings.model_version = "models/m/versions/1"
    embeddings.vectors.count, embeddings.vectors.dimensions = 2, 3
    embeddings.vectors.float32.values.extend([0.5, -1.0, 3.25, 0.0, 1e-30, 7.0])
    embeddings.token_counts.extend([4, 5])
    embeddings.truncated.extend([True, False])
    embeddings.warnings.add(index=1, kind=pb.TEXT_WARNING_KIND_EMPTY)
    data = public.SerializeToString(deterministic=True)
    twin = wire.WireEmbedResponse.FromString(data)
    assert twin.SerializeToString(deterministic=True) == data
    block = vectors.decode(twin.embeddings.vectors, 2).elements
    assert block.tolist() == np.array([[0.5, -1, 3.25], [0, 1e-30, 7]], np.float32).tolist()


def test_the_twin_of_classifications_reads_what_the_public_message_writes() -> None:
    public = labels.ClassifyStreamResponse(
        correlation_id="7",
        classifications=labels.Classifications(
            model_version="models/m/versions/1",
            labels=["a", "b"],
            label_counts=[2, 0, 300],
            label_indices=[1, 0, *[1] * 300],
            probabilities=[0.5, 0.25, *[1.0] * 300],
            applies=[True, False, *[True] * 300],
            confidences=[0.5, 0.125, 1.0],
            abstained=[False, True, False],
            token_counts=[4, 0, 1 << 20],
            truncated=[False, False, True],
            timings=labels.ClassifyTimings(total_nanos=9),
        ),
    )
    public.classifications.warnings.add(index=1, kind=pb.TEXT_WARNING_KIND_EMPTY)
    block = public.classifications.embeddings
    block.count, block.dimensions = 3, 1
    block.float32.values.extend([0.5, -1.0, 3.25])
    data = public.SerializeToString(deterministic=True)
    twin = classification_wire.WireClassifyResponse.FromString(data)
    assert twin.SerializeToString(deterministic=True) == data
    found = columns.read(twin.classifications, 3)
    assert found.ends.tolist() == [0, 2, 2, 302]
    assert found.indices.tolist() == list(public.classifications.label_indices)
    assert found.probabilities.tolist() == list(public.classifications.probabilities)
    assert found.applies.tolist() == list(public.classifications.applies)
    assert found.abstained.tolist() == [False, True, False]
    assert found.token_counts.tolist() == [4, 0, 1 << 20]
    assert found.embeddings is not None
    assert found.embeddings.tolist() == [[0.5], [-1.0], [3.25]]


@settings(max_examples=100)
@given(st.data())
def test_columns_are_the_same_read_at_once_or_when_asked_for(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 5))

    def each(values: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.lists(values, min_size=count, max_size=count))

    public = labels.Classifications(
        model_version="models/m/versions/1",
        labels=["a", "b", "c"],
        label_counts=[1] * count,
        label_indices=each(st.integers(0, 2)),
        probabilities=each(st.floats(0, 1, width=32)),
        confidences=each(st.floats(0, 1, width=32)),
        token_counts=each(st.integers(0, 140)),
        timings=labels.ClassifyTimings(total_nanos=9, head_nanos=3),
    )
    for flags in (public.applies, public.abstained, public.truncated):
        flags.extend(each(st.booleans()) if data.draw(st.booleans()) else [])
    if data.draw(st.booleans()):
        public.warnings.add(index=0, kind=pb.TEXT_WARNING_KIND_EMPTY)
    twin = classification_wire.WireClassifications.FromString(public.SerializeToString())
    later = columns.read(twin, count)
    short = max(public.token_counts) < 128
    assert isinstance(later, columns.Unread) == short
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_is_plain", lambda *_: False)
        now = columns.read(twin, count)
    copied = copy.copy(later)  # as pickling does
    for field in dataclasses.fields(columns.Columns):
        wanted = getattr(now, field.name)
        for found in (getattr(later, field.name), getattr(copied, field.name)):
            assert getattr(found, "dtype", None) == getattr(wanted, "dtype", None)
            assert np.array_equal(found, wanted) if hasattr(wanted, "dtype") else found == wanted
    assert later.first(later.indices, -1).tolist() == now.first(now.indices, -1).tolist()
    assert not hasattr(later, "unknown")


INT32 = st.integers(-(1 << 31), (1 << 31) - 1)


@settings(max_examples=60)
@given(st.lists(INT32 | st.integers(0, 200)))
def test_varints_are_read_as_protobuf_writes_them(values: list[int]) -> None:
    public = labels.Classifications(token_counts=values)
    data = classification_wire.WireClassifications.FromString(public.SerializeToString())
    assert packed.integers(data.token_counts, len(values), "numbers").tolist() == values
    for count in {len(values) + 1, max(0, len(values) - 1)} - {len(values)}:
        with pytest.raises(Internal):
            packed.integers(data.token_counts, count, "numbers")


@pytest.mark.parametrize(
    "data",
    [b"\x80", b"\x01\x80", b"\xff" * 10 + b"\x01", b"\xff" * 4 + b"\x7f", b"\x80" * 20 + b"\x00"],
)
def test_bytes_that_are_no_int32_are_refused(data: bytes) -> None:
    for count in range(3):
        with pytest.raises(Internal):
            packed.integers(data, count, "numbers")


@settings(max_examples=40)
@given(st.lists(st.text(max_size=30)), st.integers(1, 60))
def test_split_keeps_every_text_and_the_bound(given_texts: list[str], limit: int) -> None:
    parts = texts.split(given_texts, limit)
    assert [text for part in parts for text in part] == given_texts
    for part in parts:
        assert len(part) <= 1 or sum(map(texts.utf8_bytes, part)) <= limit


@settings(max_examples=40)
@given(st.text())
def test_utf8_bytes(text: str) -> None:
    assert texts.utf8_bytes(text) == len(text.encode("utf-8", "surrogatepass"))


def test_source_takes_from_any_iterable() -> None:
    async def feed() -> AsyncIterator[str]:
        for word in "abcde":
            yield word

    async def take_all(source: texts.Source) -> list[list[str]]:
        taken = []
        while part := await source.take(2):
            taken.append(part)
        return taken

    for iterable in (list("abcde"), iter("abcde"), feed()):
        assert asyncio.run(take_all(texts.Source(iterable))) == [["a", "b"], ["c", "d"], ["e"]]
    assert texts.Source("abcde").total == 1
    assert texts.Source(iter("ab")).total is None
    assert texts.Source({"a": 1, "b": 2}).total == 2


def answer(sequence: int, rows: int = 1) -> wire.WireEmbedResponse:
    block = wire.WireFloatBlock(values=np.zeros(rows, "<f4").tobytes())
    embedded = wire.WireEmbeddings(
        vectors=wire.WireVectors(count=rows, dimensions=1, float32=block)
    )
    return wire.WireEmbedResponse(embeddings=embedded, correlation_id=str(sequence))


def test_the_window_is_a_queue_with_a_bound() -> None:
    window = Window(2, STREAM)
    assert not window.full
    window.sent(Item(0, 0, 1, b"first"))
    window.sent(Item(1, 1, 3, b"second"))
    assert window.full
    assert [item.data for item in window] == [b"first", b"second"]
    assert window.answered(answer(0)).stop == 1
    assert not window.full
    with pytest.raises(Internal):
        window.answered(answer(0))  # again
    with pytest.raises(Internal):
        window.answered(answer(1, rows=1))  # of two texts
    assert [item.sequence for item in window] == [1]  # refused answers answer nothing
    assert window.answered(answer(1, rows=2)).stop == 3


def test_an_unavailable_item_stays_unanswered() -> None:
    window = Window(2, STREAM)
    window.sent(Item(0, 0, 1, b""))
    refusal = wire.WireEmbedResponse(correlation_id="0")
    refusal.error.code = 14
    with pytest.raises(Unavailable):
        window.answered(refusal)
    assert len(window) == 1
    empty = wire.WireEmbedResponse(correlation_id="0")
    with pytest.raises(Internal):
        window.answered(empty)


def test_indexes_are_counted_from_the_callers_first_text() -> None:
    error = NotFound("texts[2] and texts[10], not mytexts[1]", field="texts[2]", retry_after=1.0)
    moved = shifted(error, 100)
    assert moved.message == "texts[102] and texts[110], not mytexts[1]"
    assert (moved.field, moved.retry_after, type(moved)) == ("texts[102]", 1.0, NotFound)
    assert shifted(error, 0) is error


def test_a_deadline_never_refills() -> None:
    now = 10.0
    deadline = Deadline(5, lambda: now)
    assert deadline.remaining() == 5
    now = 14.5
    assert deadline.remaining() == 0.5
    now = 15.0
    with pytest.raises(DeadlineExceeded):
        deadline.remaining()
    assert Deadline(None, lambda: now).remaining() is None


def test_backoff_doubles_to_a_cap_and_ends() -> None:
    backoff = Backoff(lambda: 0.0, base=1, cap=5, first_attempts=2, attempts=6)
    error = Unavailable("down")
    assert backoff.pause(error) == 1
    with pytest.raises(Unavailable):
        backoff.pause(error)
    backoff.progressed()
    assert [backoff.pause(error) for _ in range(5)] == [1, 2, 4, 5, 5]  # one attempt is left
    backoff.reached()  # which is no progress
    with pytest.raises(Unavailable):
        backoff.pause(error)
    backoff.progressed()
    assert backoff.pause(Unavailable("down", retry_after=30)) == 30
    assert Backoff(lambda: 1.0, base=1).pause(error) == 0.5


@settings(max_examples=40)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=12), st.booleans())
def test_rows_collects_blocks(sizes: list[int], known: bool) -> None:
    total = sum(sizes)
    rows = vectors.Rows(total if known else None)
    everything = np.arange(total * 3, dtype=np.float32).reshape(total, 3)
    at = 0
    for size in sizes:
        rows.add(everything[at : at + size])
        at += size
    result = rows.finish()
    np.testing.assert_array_equal(result, everything)
    assert result.flags.owndata


def test_a_known_total_costs_no_more_than_the_result() -> None:
    rows = vectors.Rows(5000)
    block = np.ones((500, 4), np.float16)
    for _ in range(10):
        rows.add(block)
    result = rows.finish()
    assert result.nbytes == 5000 * 4 * 2
    assert result.base is None


def test_enum_words() -> None:
    assert enums.number(common_pb2.ElementType, "float16", "x") == 2
    assert enums.number(common_pb2.ElementType, None, "x") == 0
    assert enums.word(model_pb2.ModelKind, 2) == "student"
    assert enums.word(model_pb2.ModelKind, 77) == "77"
    for bad in ("unspecified", "", "FLOAT64", 2):
        with pytest.raises(InvalidArgument) as caught:
            enums.number(common_pb2.ElementType, bad, "element_type")  # type: ignore[arg-type]
        assert caught.value.field == "element_type"
        assert "float32, float16, int8, binary" in caught.value.message


class Suspends:
    def __await__(self) -> Any:
        yield "something"


async def suspending(core: object) -> None:
    """Breaks the rule of flows."""
    await Suspends()


async def counting(core: list[str], upto: int) -> AsyncIterator[int]:
    """Counts, and says when it was closed."""
    try:
        for number in range(upto):
            yield number
    finally:
        core.append("closed")


class Face(BlockingFace):
    suspending = Method(suspending)
    counting = Stream(counting)

    def __init__(self) -> None:
        self._subject: list[str] = []


def test_a_blocking_face_refuses_to_wait_for_nothing() -> None:
    with pytest.raises(RuntimeError, match="suspended"):
        Face().suspending()


def test_leaving_an_iteration_closes_its_flow() -> None:
    face = Face()
    for number in face.counting(10):
        if number == 2:
            break
    assert face._subject == ["closed"]
    assert list(face.counting(3)) == [0, 1, 2]


def test_methods_show_their_documentation() -> None:
    assert Face.counting.__doc__ == counting.__doc__
    assert list(inspect.signature(Face().counting).parameters) == ["upto"]
    assert list(inspect.signature(Face.counting).parameters) == ["self", "upto"]  # type: ignore[arg-type]


def test_every_error_is_made_alike() -> None:
    for kind in StillroomError.__subclasses__():
        assert kind("m").reason == kind.code
        assert str(kind("m")) == "m"
