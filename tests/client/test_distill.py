"""What distill asks for: recipes, corpora, evaluations, demands; and what it answers."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, status_pb2

from client.conftest import CONTENT, DOWNLOAD
from client.fake_server import FakeServer, PatientAsyncTransport, fail, status
from client.test_operations import DISTILL, WATCH, operation, watching
from stillroom import AsyncClient, Client, errors
from stillroom.v1 import common_pb2, fidelity_pb2, model_pb2
from stillroom.v1 import distillation_service_pb2 as pb
from stillroom.v1 import operation_service_pb2 as operations


@pytest.fixture
def sent(server: FakeServer, client: Client, received: list[bytes]) -> Any:
    """The DistillRequest of a call."""

    def go(**options: Any) -> pb.DistillRequest:
        client.distill("t", "s", **options)
        request = server.requests[-1]
        assert isinstance(request, pb.DistillRequest)
        return request

    return go


def test_recipes_by_name(sent: Any) -> None:
    auto = sent(recipe="auto", seed=3)
    assert (auto.WhichOneof("recipe"), auto.auto.seed) == ("auto", 3)
    assert sent(seed=3).auto.seed == 3
    assert sent(recipe="quantize", element_type="int8", vocabulary_clusters=9).quantize == (
        pb.QuantizeRecipe(element_type=common_pb2.ELEMENT_TYPE_INT8, vocabulary_clusters=9)
    )
    shallow = sent(
        recipe="transformer",
        corpus=["a"],
        layers=3,
        hidden_size=64,
        dimensions=32,
        max_epochs=2,
        time_budget=60,
        held_out=0.1,
        element_type="float16",
        seed=1,
        max_tokens=128,
    )
    assert shallow.transformer == pb.TransformerRecipe(
        layers=3,
        hidden_size=64,
        dimensions=32,
        max_epochs=2,
        time_budget_seconds=60,
        held_out=0.1,
        element_type=common_pb2.ELEMENT_TYPE_FLOAT16,
        seed=1,
        max_tokens=128,
    )


def test_a_tuned_recipe_holds_its_start(sent: Any) -> None:
    request = sent(
        recipe="static-tuned",
        corpus=["a"],
        dimensions=64,
        seed=5,
        element_type="int8",
        max_epochs=4,
        time_budget=1.5,
        held_out=0.2,
        grow_words=0,
        matryoshka_dimensions=[16, 32],
    )
    tuned = request.static_tuned
    assert (tuned.static.dimensions, tuned.static.seed) == (64, 5)
    assert tuned.static.element_type == common_pb2.ELEMENT_TYPE_INT8
    assert (tuned.max_epochs, tuned.time_budget_seconds, tuned.held_out) == (4, 1.5, 0.2)
    assert list(tuned.matryoshka_dimensions) == [16, 32]
    assert tuned.HasField("grow_words")
    assert not tuned.HasField("grow_pairs")  # the server's choice


def test_options_alone_choose_as_auto_would(sent: Any) -> None:
    assert sent(dimensions=64).WhichOneof("recipe") == "static"
    assert sent(dimensions=64, corpus=["a"]).static_tuned.static.dimensions == 64
    assert sent(corpus=["a"]).WhichOneof("recipe") is None


def test_corpora(sent: Any, client: Client, received: list[bytes], tmp_path: Path) -> None:
    file = tmp_path / "c.txt"
    file.write_text("one\ntwo\n")
    assert not sent().HasField("corpus")
    texts = sent(corpus=(text for text in ["a", "b\r\nc\nd", ""])).corpus.texts.values
    assert list(texts) == ["a", "b c d", ""]
    assert sent(corpus=file).corpus.upload == "uploads/1"
    assert sent(corpus=["x" * 1000] * 2000).corpus.upload == "uploads/2"
    assert received == [b"one\ntwo\n", b"x" * 1000 + (b"\n" + b"x" * 1000) * 1999 + b"\n"]
    assert sent(corpus=client.corpus_source(server_path="/c.txt")).corpus.path == "/c.txt"
    assert client.corpus_source(path=file).upload == "uploads/3"
    assert client.corpus_source(upload="uploads/9").upload == "uploads/9"
    assert list(client.corpus_source(texts=["a"]).texts.values) == ["a"]
    dataset = client.corpus_source(dataset="a/b@main", split="test", column="body").dataset
    assert dataset == common_pb2.HubDataset(
        repo="a/b", revision="main", split="test", column="body"
    )


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ({}, "corpus"),
        ({"texts": ["a"], "path": "x"}, "path"),
        ({"server_path": "/x", "split": "train"}, "split"),
        ({"dataset": "a/b@c", "revision": "d"}, "revision"),
        ({"path": "/nonexistent"}, "path"),
        ({"texts": [b"a"]}, "corpus[0]"),
    ],
)
def test_bad_sources_name_the_argument(client: Client, source: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        client.corpus_source(**source)
    assert caught.value.field == field


def test_evaluations(sent: Any, received: list[bytes], tmp_path: Path) -> None:
    pairs, labels = tmp_path / "sts.tsv", tmp_path / "train.csv"
    pairs.write_text("4.5\ta text\tanother\n")
    labels.write_text("\ufefftext,category\nhello,greeting\n")
    named = sent(
        evaluations={
            "sts": pairs,
            "bank": (labels, labels),
            "mine": [(0.5, "a", "b")],
            "tone": [("good", "fine")],
            "theirs": pb.EvaluationSet(path="/x", kind=fidelity_pb2.EVALUATION_KIND_LABELS),
        }
    ).evaluations
    similarity = fidelity_pb2.EVALUATION_KIND_SIMILARITY
    of_labels = fidelity_pb2.EVALUATION_KIND_LABELS
    assert list(named) == [
        pb.EvaluationSet(name="sts", kind=similarity, upload="uploads/1"),
        pb.EvaluationSet(name="bank", kind=of_labels, upload="uploads/2", test_upload="uploads/3"),
        pb.EvaluationSet(
            name="mine",
            kind=similarity,
            pairs=pb.SimilarityPairs(
                values=[pb.SimilarityPair(similarity=0.5, first="a", second="b")]
            ),
        ),
        pb.EvaluationSet(
            name="tone",
            kind=of_labels,
            labeled=pb.LabeledTexts(values=[pb.LabeledText(label="good", text="fine")]),
        ),
        pb.EvaluationSet(name="theirs", kind=of_labels, path="/x"),
    ]
    listed = [pb.EvaluationSet(name="x", path="/y")]
    assert list(sent(evaluations=listed).evaluations) == listed
    (tmp_path / "odd.csv").write_text("a,b\n")
    with pytest.raises(errors.InvalidArgument) as caught:
        sent(evaluations={"odd": tmp_path / "odd.csv"})
    assert caught.value.reason == "BAD_COLUMNS"


def test_demands(sent: Any) -> None:
    request = sent(minimum_fidelity=0.0, budget={"seconds": 60, "memory_bytes": 1 << 30})
    assert request.minimum_fidelity == pb.MinimumFidelity(mean_cosine=0.0)
    assert request.minimum_fidelity.HasField("mean_cosine")
    assert request.budget == common_pb2.Budget(seconds=60, memory_bytes=1 << 30)
    request = sent(minimum_fidelity={"recall_at_10": 0.4})
    assert not request.minimum_fidelity.HasField("mean_cosine")
    assert not request.HasField("budget")
    message = pb.MinimumFidelity(similarity_spearman=0.5)
    assert sent(minimum_fidelity=message).minimum_fidelity == message


def test_nothing_is_uploaded_for_a_request_that_is_wrong(
    client: Client, server: FakeServer, received: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "c.txt").write_text("one\n")
    with pytest.raises(errors.InvalidArgument):
        client.distill("t", "s", corpus=tmp_path / "c.txt", recipe="static_tuned", layers=2)
    assert (received, server.calls) == ([], [])


def test_what_is_only_validated_is_done_at_once(server: FakeServer, client: Client) -> None:
    response = pb.DistillResponse(teacher_version="models/t/versions/1")
    done = operation(operations.OPERATION_STATE_SUCCEEDED, response=response, name="")
    server.answer(DISTILL, done)
    checked = client.distill("t", "s", validate_only=True)
    assert checked.result() == response
    assert server.calls == [DISTILL]
    assert server.requests[0].validate_only  # type: ignore[attr-defined]


REPORT = fidelity_pb2.FidelityReport(texts=100, mean_cosine=0.61)


def too_low() -> status_pb2.Status:
    refusal = status(code_pb2.FAILED_PRECONDITION, "too low", reason="FIDELITY_TOO_LOW")
    packed = any_pb2.Any()
    packed.Pack(REPORT)
    refusal.details.append(packed)
    return refusal


def test_a_student_that_is_not_good_enough(server: FakeServer, client: Client) -> None:
    server.answer(DISTILL, operation())
    server.on(WATCH, watching(operation(done=1), operation(error=too_low())))
    with pytest.raises(errors.FidelityTooLow, match="too low") as caught:
        client.distill("t", "s", minimum_fidelity=0.9).result()
    assert isinstance(caught.value, errors.FailedPrecondition)
    assert caught.value.report == REPORT
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert (type(again), again.report) == (errors.FidelityTooLow, REPORT)
    bare = status(code_pb2.FAILED_PRECONDITION, "too low", reason="FIDELITY_TOO_LOW")
    error = errors.from_status(bare)
    assert isinstance(error, errors.FidelityTooLow)
    assert error.report is None


async def test_the_asyncio_client_uploads_too(
    server: FakeServer, received: list[bytes], tmp_path: Path
) -> None:
    (tmp_path / "c.txt").write_text("one\n")
    async with AsyncClient(transport=PatientAsyncTransport(server.target)) as client:
        corpus = await client.corpus_source(path=tmp_path / "c.txt")
        await client.distill("t", "s", corpus=corpus, evaluations={"e": [(1, "a", "b")]})
    assert received == [b"one\n"]
    assert server.requests[-1].corpus.upload == "uploads/1"  # type: ignore[attr-defined]


def test_one_file_is_read(
    server: FakeServer, client: Client, version: model_pb2.ModelVersion
) -> None:
    assert client.read_file("s", "fidelity.svg") == CONTENT
    with pytest.raises(errors.OutOfRange):
        client.read_file("s", "fidelity.svg", max_bytes=len(CONTENT) - 1)
    version.files[0].digest = "sha256:00"
    with pytest.raises(errors.DataLoss):
        client.read_file("s", "fidelity.svg")


def test_a_broken_stream_of_one_file_is_read_again(
    server: FakeServer, client: Client, version: model_pb2.ModelVersion
) -> None:
    whole = server._behaviors[f"/{DOWNLOAD}"]
    breaks = [True, False]

    def behavior(request: Any, context: Any) -> Iterator[Any]:
        if breaks.pop(0):
            fail(context, status(code_pb2.UNAVAILABLE), again=False)
        yield from whole(request, context)

    server.on(DOWNLOAD, behavior)
    assert client.read_file("s", "fidelity.svg") == CONTENT
    assert not breaks
