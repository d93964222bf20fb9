"""One short text with default options is answered by a way of its own, alike in every byte."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from serving import Details, Serving

from stillroom.v1 import embedding_service_pb2 as pb
from stillroom_server.rpc.one_text import OneTextAnswers

EMBED = "/stillroom.v1.EmbeddingService/Embed"
TAKEN: list[bool] = []


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """``TAKEN`` says of each request whether the short way answered it."""
    answer = OneTextAnswers.answer

    def watch(self: OneTextAnswers, *arguments: object) -> bytes | None:
        TAKEN.append(False)
        found = answer(self, *arguments)  # type: ignore[arg-type]
        TAKEN[-1] = found is not None
        return found

    TAKEN.clear()
    monkeypatch.setattr(OneTextAnswers, "answer", watch)


@pytest.fixture
def ask(server: Serving) -> Callable[[pb.EmbedRequest], bytes]:
    call = server.channel.unary_unary(EMBED, None, None)
    call(pb.EmbedRequest(model="s", texts=["card", "help"]).SerializeToString())  # loads it
    TAKEN.clear()
    return lambda request: call(request.SerializeToString())


def without_timings(data: bytes) -> pb.EmbedResponse:
    answer = pb.EmbedResponse.FromString(data)
    assert answer.SerializeToString() == data  # as the public messages encode it
    timings = answer.embeddings.timings
    assert 0 < timings.tokenize_nanos + timings.infer_nanos <= timings.total_nanos
    answer.embeddings.ClearField("timings")
    return answer


@pytest.mark.parametrize("correlation_id", ["", "é-7"])
def test_it_answers_what_the_general_way_answers(
    ask: Callable[[pb.EmbedRequest], bytes], correlation_id: str
) -> None:
    text = "the exchange rate was charged twice"
    plain = pb.EmbedRequest(model="s", texts=[text], correlation_id=correlation_id)
    spelled = pb.EmbedRequest(model="s", texts=[text], correlation_id=correlation_id)
    spelled.options.normalize = True  # the default, but options all the same
    short = without_timings(ask(plain))
    assert TAKEN == [True]
    assert short == without_timings(ask(spelled))
    assert TAKEN == [True, False]
    assert short.embeddings.model_version == "models/s/versions/2"
    assert list(short.embeddings.token_counts) == [6]


def test_empty_options_are_none(ask: Callable[[pb.EmbedRequest], bytes]) -> None:
    empty = pb.EmbedRequest(model="s", texts=["a new card"], options=pb.EmbedOptions())
    assert empty.HasField("options")
    ask(empty)
    assert TAKEN == [True]


@pytest.mark.parametrize(
    ("text", "warning"),
    [("", pb.TEXT_WARNING_KIND_EMPTY), ("Ωμέγα", pb.TEXT_WARNING_KIND_ALL_UNKNOWN)],
)
def test_what_deserves_a_warning_gets_it(
    ask: Callable[[pb.EmbedRequest], bytes], text: str, warning: int
) -> None:
    answer = pb.EmbedResponse.FromString(ask(pb.EmbedRequest(model="s", texts=[text])))
    assert TAKEN == [False]
    assert [each.kind for each in answer.embeddings.warnings] == [warning]


def test_a_text_that_is_cut_is_told_so(ask: Callable[[pb.EmbedRequest], bytes]) -> None:
    request = pb.EmbedRequest(model="s", texts=["card " * 500 + "help " * 13])
    answer = pb.EmbedResponse.FromString(ask(request)).embeddings
    assert list(answer.truncated) == [True]
    assert list(answer.token_counts) == [512]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.EmbedRequest(texts=["card"]), "MODEL_REQUIRED"),
        (pb.EmbedRequest(model="s"), "NO_TEXTS"),
        (pb.EmbedRequest(model="none", texts=["card"]), "MODEL_NOT_FOUND"),
        (pb.EmbedRequest(model="s", texts=["x" * 10_001]), "TEXT_TOO_LARGE"),
        (
            pb.EmbedRequest(model="s", texts=["card"], correlation_id="x" * 257),
            "CORRELATION_ID_TOO_LONG",
        ),
    ],
)
def test_refusals_are_those_of_the_general_way(
    ask: Callable[[pb.EmbedRequest], bytes], request_: pb.EmbedRequest, reason: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        ask(request_)
    assert Details(caught.value).info.reason == reason
    assert TAKEN == [False]
