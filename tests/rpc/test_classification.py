"""Classify and ClassifyStream through a real server, against the arithmetic in as many words."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from inference.students import naive_vector, write_student
from inference.transformers import naive
from prometheus_client import CollectorRegistry
from serving import Details, Serving, serving

from rpc.classifiers import (
    DIMENSIONS,
    LABELS,
    THRESHOLDS,
    naive_probabilities,
    of_vector,
    write_classifier,
)
from rpc.conftest import LIMITS
from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import common_pb2, server_service_pb2
from stillroom.v1 import embedding_service_pb2 as embedding
from stillroom.v1.classification_service_pb2_grpc import ClassificationServiceStub
from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from stillroom.v1.server_service_pb2_grpc import ServerServiceStub
from stillroom_registry.errors import FailedPrecondition, ResourceExhausted
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind, ModelVersion
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.classifier.files import EncoderKind
from stillroom_server.inference.options import EmbedOptions, EmbedPlan, plan
from stillroom_server.inference.registry_models import classifier_pool
from stillroom_server.inference.results import EmbedResult, Timings
from stillroom_server.observability.metrics import ClassifyMetrics
from stillroom_server.rpc.admission import Admission
from stillroom_server.rpc.classification import ClassificationServicer
from stillroom_server.settings import Settings

TEXTS = ["my new card", "the exchange rate was charged twice", "help", "i am still waiting"]
MANY = [f"label {index:03} {'x' * 60}" for index in range(200)]


class World:
    """The folders of the classifiers that the server has, by name."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.folders = {
            "c": write_classifier(folder / "c"),
            "sure": write_classifier(folder / "sure", abstention_threshold=0.9),
            "multi": write_classifier(folder / "multi", multi_label=True),
            "many": write_classifier(folder / "many", labels=MANY, multi_label=True),
            "x": write_classifier(folder / "x", kind=EncoderKind.TRANSFORMER),
            "cut": write_classifier(folder / "cut", encoding={"max_tokens": 2}),
            "orphan": write_classifier(
                folder / "orphan", kind=EncoderKind.TEACHER, encoder_version="models/t/versions/9"
            ),
        }
        registry = Registry.open(self.data)
        registry.publish("s", ModelKind.STUDENT, write_student(folder / "s"))
        (folder / "t").mkdir()
        (folder / "t" / "config.json").write_text("{}")
        registry.publish("t", ModelKind.TEACHER, folder / "t")
        for name, path in self.folders.items():
            registry.publish(name, ModelKind.CLASSIFIER, path)
        write_classifier(folder / "c2", seed=2)
        registry.publish("c", ModelKind.CLASSIFIER, folder / "c2")
        registry.close()
        self.folders["c"], self.folders["c@1"] = folder / "c2", self.folders["c"]

    def expected(self, model: str, texts: list[str] = TEXTS) -> np.ndarray:
        return np.stack([naive_probabilities(self.folders[model], text) for text in texts])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def server(world: World) -> Iterator[Serving]:
    with serving(world.data, metrics_address="127.0.0.1:0", **LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def stub(server: Serving) -> ClassificationServiceStub:
    return ClassificationServiceStub(server.channel)


def given(answer: pb.Classifications) -> list[list[tuple[str, float]]]:
    """The labels and probabilities of each text."""
    pairs = iter(
        (answer.labels[index], value)
        for index, value in zip(answer.label_indices, answer.probabilities, strict=True)
    )
    return [[next(pairs) for _ in range(count)] for count in answer.label_counts]


def ask(stub: ClassificationServiceStub, model: str, texts: list[str], **options: Any) -> Any:
    request = pb.ClassifyRequest(model=model, texts=texts)
    if options:
        request.options.CopyFrom(pb.ClassifyOptions(**options))
    return stub.Classify(request).classifications


def refused(stub: ClassificationServiceStub, request: pb.ClassifyRequest) -> Details:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Classify(request)
    return Details(caught.value)


# Single-label


def test_the_best_label_is_the_defined_one(stub: ClassificationServiceStub, world: World) -> None:
    request = pb.ClassifyRequest(model="c", texts=TEXTS, correlation_id="é-7")
    answer = stub.Classify(request)
    expected = world.expected("c")
    found = answer.classifications
    best = [[LABELS[row.argmax()]] for row in expected]
    assert [[label for label, _ in each] for each in given(found)] == best
    np.testing.assert_allclose(found.probabilities, expected.max(axis=1), atol=1e-5)
    assert list(found.confidences) == list(found.probabilities)
    assert found.model_version == "models/c/versions/2"
    assert answer.correlation_id == "é-7"
    assert list(found.token_counts) == [3, 6, 1, 4]
    assert set(found.labels) == {label for labels in best for label in labels}
    assert not found.applies
    assert not found.abstained
    assert not found.truncated
    assert not found.warnings
    assert not found.HasField("embeddings")
    timings = found.timings
    spent = timings.tokenize_nanos + timings.infer_nanos + timings.head_nanos
    assert 0 < spent <= timings.total_nanos


def test_top_k(stub: ClassificationServiceStub, world: World) -> None:
    expected = world.expected("c")
    for k, count in ((1, 1), (3, 3), (5, 5), (99, 5)):
        rows = given(ask(stub, "c", TEXTS, top_k=k))
        for found, values in zip(rows, expected, strict=True):
            order = np.argsort(-values)[:count]
            assert [label for label, _ in found] == [LABELS[index] for index in order]
            np.testing.assert_allclose([p for _, p in found], values[order], atol=1e-5)


def test_one_text_is_answered_like_many(stub: ClassificationServiceStub) -> None:
    together = given(ask(stub, "c", TEXTS))
    alone = [given(ask(stub, "c", [text]))[0] for text in TEXTS]
    general = [given(ask(stub, "c", [text], top_k=1))[0] for text in TEXTS]
    for one, other, many in zip(alone, general, together, strict=True):
        assert one[0][0] == other[0][0] == many[0][0]
        assert one[0][1] == pytest.approx(other[0][1], abs=1e-6)
        assert one[0][1] == pytest.approx(many[0][1], abs=1e-6)


def test_abstention(stub: ClassificationServiceStub, world: World) -> None:
    sure = world.expected("sure").max(axis=1)
    told = (sure < 0.9).tolist()
    assert any(told)
    found = ask(stub, "sure", TEXTS)
    assert list(found.abstained) == told
    assert len(given(found)) == len(TEXTS)  # what it would have said is there all the same
    for text, abstained in zip(TEXTS, told, strict=True):
        assert list(ask(stub, "sure", [text]).abstained) == ([True] if abstained else [])
    assert not ask(stub, "sure", TEXTS, abstention_threshold=0.0).abstained
    assert list(ask(stub, "c", TEXTS, abstention_threshold=1.0).abstained) == [True] * 4


def test_texts_without_a_known_token_are_abstained_from(stub: ClassificationServiceStub) -> None:
    found = ask(stub, "c", ["card", "", "☃☃"], abstention_threshold=0.0)
    assert list(found.abstained) == [False, True, True]
    assert [(w.index, w.kind) for w in found.warnings] == [
        (1, embedding.TEXT_WARNING_KIND_EMPTY),
        (2, embedding.TEXT_WARNING_KIND_ALL_UNKNOWN),
    ]
    assert list(ask(stub, "c", [""]).abstained) == [True]


def test_how_texts_are_embedded_is_the_classifiers_own(
    stub: ClassificationServiceStub, world: World
) -> None:
    found = ask(stub, "cut", TEXTS)
    expected = [naive_probabilities(world.folders["cut"], t, max_tokens=2) for t in TEXTS]
    np.testing.assert_allclose(found.probabilities, np.max(expected, axis=1), atol=1e-5)
    assert list(found.truncated) == [True, True, False, True]
    assert list(found.token_counts) == [2, 2, 1, 2]
    request = pb.ClassifyRequest(
        model="cut", texts=["help", TEXTS[0]], options=pb.ClassifyOptions(truncate=False)
    )
    details = refused(stub, request)
    assert (details.field, details.info.reason) == ("texts[1]", "TEXT_TOO_LONG")


@pytest.mark.parametrize(
    "element_type",
    [common_pb2.ELEMENT_TYPE_UNSPECIFIED, common_pb2.ELEMENT_TYPE_FLOAT32],
)
def test_vectors_go_with_them(
    stub: ClassificationServiceStub, world: World, element_type: common_pb2.ElementType
) -> None:
    found = ask(
        stub, "c", TEXTS, include_embeddings=True, embedding_element_type=element_type
    ).embeddings
    vectors = np.array(found.float32.values).reshape(found.count, found.dimensions)
    expected = np.stack([naive_vector(world.folders["c"], text) for text in TEXTS])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    half = ask(
        stub,
        "c",
        TEXTS,
        include_embeddings=True,
        embedding_element_type=common_pb2.ELEMENT_TYPE_FLOAT16,
    ).embeddings
    cut = np.frombuffer(half.float16, "<f2").reshape(4, DIMENSIONS)
    np.testing.assert_allclose(cut, expected, atol=1e-3)


def test_versions_and_names(stub: ClassificationServiceStub, world: World) -> None:
    for ref in ("c@1", "models/c/versions/1"):
        found = ask(stub, ref, TEXTS)
        assert found.model_version == "models/c/versions/1"
        expected = world.expected("c@1").max(axis=1)
        np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)


# Multi-label


def test_labels_that_apply(stub: ClassificationServiceStub, world: World) -> None:
    expected = world.expected("multi")
    found = ask(stub, "multi", TEXTS)
    applies = expected >= np.array(THRESHOLDS)
    for row, values, fits in zip(given(found), expected, applies, strict=True):
        order = [index for index in np.argsort(-values) if fits[index]]
        assert [label for label, _ in row] == [LABELS[index] for index in order]
        np.testing.assert_allclose([p for _, p in row], values[order], atol=1e-5)
    sure = np.where(applies, expected, 1 - expected).prod(axis=1)
    np.testing.assert_allclose(found.confidences, sure, atol=1e-5)
    assert not found.applies
    same = ask(stub, "multi", TEXTS, threshold=0.5)
    assert list(same.label_counts) == (expected >= 0.5).sum(axis=1).tolist()
    assert list(ask(stub, "multi", TEXTS, threshold=1.0).label_counts) == [0] * 4


def test_top_k_tells_which_apply(stub: ClassificationServiceStub, world: World) -> None:
    expected = world.expected("multi")
    found = ask(stub, "multi", TEXTS, top_k=3)
    order = np.argsort(-expected, axis=1)[:, :3]
    reached = np.take_along_axis(expected >= np.array(THRESHOLDS), order, axis=1)
    assert list(found.applies) == reached.reshape(-1).tolist()
    assert list(found.label_counts) == [3] * 4


# Other encoders


def test_a_transformers_vectors(stub: ClassificationServiceStub, world: World) -> None:
    folder = world.folders["x"]
    expected = np.stack([of_vector(folder, naive(folder, text)) for text in TEXTS])
    for found in (ask(stub, "x", TEXTS), ask(stub, "x", TEXTS, top_k=1)):
        np.testing.assert_allclose(found.probabilities, expected.max(axis=1), atol=1e-4)
    answers = stub.ClassifyStream(
        pb.ClassifyStreamRequest(model="x", texts=[text], correlation_id=text) for text in TEXTS * 3
    )
    for text, answer, values in zip(TEXTS * 3, answers, [*expected] * 3, strict=True):
        assert answer.correlation_id == text
        assert answer.classifications.probabilities[0] == pytest.approx(values.max(), abs=1e-4)


def test_a_classifier_whose_teacher_is_gone(stub: ClassificationServiceStub) -> None:
    details = refused(stub, pb.ClassifyRequest(model="orphan", texts=["x"]))
    assert details.code is grpc.StatusCode.FAILED_PRECONDITION
    assert (details.info.reason, details.field) == ("ENCODER_DELETED", "model")
    assert details.info.metadata["encoder_version"] == "models/t/versions/9"


class FakeTeacher:
    name, model = "models/t/versions/1", "t"

    def validate(self, options: EmbedOptions) -> EmbedPlan:
        return plan(options, dimensions=DIMENSIONS, max_tokens=64, prompts={"q": "please "})


class FakeTeachers:
    """Teachers whose vector of a text is given by its length; the queue may be full."""

    full = False

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], EmbedPlan, float | None, bool]] = []

    async def get(self, version: ModelVersion, seconds: float | None) -> FakeTeacher:
        assert version.kind is ModelKind.TEACHER
        return FakeTeacher()

    async def embed(
        self,
        teacher: FakeTeacher,
        texts: list[str],
        how: EmbedPlan,
        *,
        seconds: float | None,
        wait: bool,
    ) -> EmbedResult:
        self.asked.append((texts, how, seconds, wait))
        if self.full:
            raise ResourceExhausted("full", reason="TEACHER_QUEUE_FULL", retry_after=1)
        vectors = np.stack([self.vector(text) for text in texts])
        count = len(texts)
        return EmbedResult(
            vectors,
            np.full(count, 3, np.int32),
            np.zeros(count, np.bool_),
            np.array([0 if text else 1 for text in texts], np.uint8),
            Timings(0.01, 0.02, 0.03),
        )

    @staticmethod
    def vector(text: str) -> np.ndarray:
        return np.random.default_rng(len(text)).standard_normal(DIMENSIONS).astype(np.float32)


class FakeCall:
    actor = ""

    def seconds_left(self) -> float | None:
        return 7.0


async def test_a_teachers_vectors(tmp_path: Path) -> None:
    registry = Registry.open(tmp_path / "data")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "config.json").write_text("{}")
    registry.publish("t", ModelKind.TEACHER, tmp_path / "t")
    folder = write_classifier(
        tmp_path / "c",
        kind=EncoderKind.TEACHER,
        encoder_version="models/t/versions/1",
        encoding={"prompt_name": "q", "max_tokens": 9},
    )
    registry.publish("c", ModelKind.CLASSIFIER, folder)
    teachers: Any = FakeTeachers()
    operations: Any = None
    servicer = ClassificationServicer(
        operations,
        classifier_pool(registry),
        teachers,
        registry,
        Settings(data_dir=tmp_path / "data"),
        ClassifyMetrics(CollectorRegistry()),
        Admission(4, 4),
    )
    call: Any = FakeCall()
    request = pb.ClassifyRequest(model="c", texts=[*TEXTS, ""])
    data = await servicer.Classify(request, call)
    found = pb.ClassifyResponse.FromString(data).classifications
    expected = [of_vector(folder, FakeTeachers.vector(text)) for text in request.texts]
    np.testing.assert_allclose(found.probabilities, np.max(expected, axis=1), atol=1e-5)
    assert list(found.abstained) == [False] * 4 + [True]
    ((texts, how, seconds, wait),) = teachers.asked
    assert texts == list(request.texts)
    assert (how.prompt, how.max_tokens, seconds, wait) == ("please ", 9, 7.0, False)
    timings = found.timings
    assert (timings.queue_nanos, timings.tokenize_nanos, timings.infer_nanos) == (
        *(30_000_000, 10_000_000),
        20_000_000,
    )

    async def items() -> AsyncIterator[bytes]:
        for text in TEXTS:
            yield pb.ClassifyStreamRequest(
                model="c", texts=[text], correlation_id=text
            ).SerializeToString()

    answers = [
        pb.ClassifyStreamResponse.FromString(each)
        async for each in servicer.ClassifyStream(items(), call)
    ]
    assert [each.correlation_id for each in answers] == TEXTS
    values = [each.classifications.probabilities[0] for each in answers]
    np.testing.assert_allclose(values, np.max(expected[:-1], axis=1), atol=1e-5)
    assert all(wait for *_, wait in teachers.asked[1:])
    teachers.full = True
    with pytest.raises(ResourceExhausted):
        await servicer.Classify(request, call)
    registry.delete_model("t", force=True)
    with pytest.raises(FailedPrecondition) as caught:
        await servicer.Classify(request, call)
    assert caught.value.reason == "ENCODER_DELETED"
    registry.close()


# Refusals


@pytest.mark.parametrize(
    ("request_", "code", "field", "reason"),
    [
        (pb.ClassifyRequest(model="nope", texts=["x"]), "NOT_FOUND", "model", "MODEL_NOT_FOUND"),
        (pb.ClassifyRequest(model="c@9", texts=["x"]), "NOT_FOUND", "model", "VERSION_NOT_FOUND"),
        (pb.ClassifyRequest(texts=["x"]), "INVALID_ARGUMENT", "model", "MODEL_REQUIRED"),
        (
            pb.ClassifyRequest(model="s", texts=["x"]),
            *("FAILED_PRECONDITION", "model", "NOT_A_CLASSIFIER"),
        ),
        (
            pb.ClassifyRequest(model="t", texts=["x"]),
            *("FAILED_PRECONDITION", "model", "NOT_A_CLASSIFIER"),
        ),
        (pb.ClassifyRequest(model="c"), "INVALID_ARGUMENT", "texts", "NO_TEXTS"),
        (
            pb.ClassifyRequest(model="c", texts=["x"] * 65),
            *("INVALID_ARGUMENT", "texts", "TOO_MANY_TEXTS"),
        ),
        (
            pb.ClassifyRequest(model="c", texts=["a", "x" * 10_001]),
            *("INVALID_ARGUMENT", "texts[1]", "TEXT_TOO_LARGE"),
        ),
        (
            pb.ClassifyRequest(model="many", texts=["x"]),
            *("INVALID_ARGUMENT", "texts", "RESPONSE_TOO_LARGE"),
        ),
        (
            pb.ClassifyRequest(model="c", texts=["x"], correlation_id="i" * 257),
            *("INVALID_ARGUMENT", "correlation_id", "CORRELATION_ID_TOO_LONG"),
        ),
    ],
)
def test_bad_requests(
    stub: ClassificationServiceStub,
    request_: pb.ClassifyRequest,
    code: str,
    field: str,
    reason: str,
) -> None:
    details = refused(stub, request_)
    assert (details.code.name, details.field, details.info.reason) == (code, field, reason)
    assert details.message


@pytest.mark.parametrize(
    ("model", "options", "field"),
    [
        ("c", {"top_k": -1}, "top_k"),
        ("c", {"abstention_threshold": 1.5}, "abstention_threshold"),
        ("c", {"abstention_threshold": float("nan")}, "abstention_threshold"),
        ("c", {"threshold": 0.5}, "threshold"),
        ("multi", {"threshold": -0.5}, "threshold"),
        ("c", {"embedding_element_type": 1}, "embedding_element_type"),
        ("c", {"include_embeddings": True, "embedding_element_type": 9}, "embedding_element_type"),
    ],
)
def test_bad_options(
    stub: ClassificationServiceStub, model: str, options: dict[str, Any], field: str
) -> None:
    request = pb.ClassifyRequest(model=model, texts=["x"], options=pb.ClassifyOptions(**options))
    details = refused(stub, request)
    assert (details.code.name, details.field) == ("INVALID_ARGUMENT", f"options.{field}")


def test_a_classifier_does_not_embed(server: Serving) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        EmbeddingServiceStub(server.channel).Embed(embedding.EmbedRequest(model="c", texts=["x"]))
    details = Details(caught.value)
    assert details.code is grpc.StatusCode.FAILED_PRECONDITION
    assert (details.info.reason, details.info.metadata["kind"]) == ("NOT_A_STUDENT", "classifier")


# The stream


def test_a_stream_answers_in_order_and_survives_bad_items(server: Serving) -> None:
    call = server.channel.stream_stream(
        "/stillroom.v1.ClassificationService/ClassifyStream",
        response_deserializer=pb.ClassifyStreamResponse.FromString,
    )

    def items() -> Iterator[bytes]:
        def item(**fields: Any) -> bytes:
            data: bytes = pb.ClassifyStreamRequest(**fields).SerializeToString()
            return data

        yield item(texts=["x"], correlation_id="no model")
        yield item(model="c", texts=["card"], correlation_id="1")
        yield b"\xff\xff"
        yield item(texts=["my card", "help"], correlation_id="2")
        yield item(model="s", texts=["x"])
        yield item(model="c@1", correlation_id="empty")
        yield item(model="many", texts=["a"], correlation_id="big")
        options = pb.ClassifyOptions(top_k=-1)
        yield item(model="x", texts=["a"], options=options, correlation_id="bad")
        yield item(model="c", texts=["pin"], correlation_id="3")

    answers = list(call(items()))
    kinds = [
        Details(a.error).info.reason if a.HasField("error") else a.classifications.model_version
        for a in answers
    ]
    assert kinds == [
        "MODEL_REQUIRED",
        "models/c/versions/2",
        "MALFORMED_MESSAGE",
        "models/c/versions/2",
        "NOT_A_CLASSIFIER",
        "NO_TEXTS",
        "RESPONSE_TOO_LARGE",
        "TOP_K_OUT_OF_RANGE",
        "models/c/versions/2",
    ]
    ids = [answer.correlation_id for answer in answers]
    assert ids == ["no model", "1", "", "2", "", "empty", "big", "bad", "3"]


def test_large_items_are_answered_as_alone_whatever_is_beside_them(
    server: Serving, stub: ClassificationServiceStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    together = Classifier.classify_together

    def watch(self: Classifier, lists: Any, how: Any = None) -> Any:
        groups.append(len(lists))
        return together(self, lists, how)

    monkeypatch.setattr(Classifier, "classify_together", watch)
    call = server.channel.stream_stream(
        "/stillroom.v1.ClassificationService/ClassifyStream",
        response_deserializer=pb.ClassifyStreamResponse.FromString,
    )
    uncut = pb.ClassifyOptions(truncate=False)
    top = pb.ClassifyOptions(top_k=2)
    long = "card " * 600
    requests = []
    for index in range(40):
        texts = [f"{text} {index}{' please' * 8}" for text in TEXTS * 10]
        if index % 10 == 7:
            texts[5] = long
        requests.append(
            pb.ClassifyStreamRequest(
                model="multi" if index > 30 else "c",
                texts=texts,
                options=uncut if index < 15 else top if index < 20 else None,
                correlation_id=str(index),
            )
        )
    answers = list(call(iter([each.SerializeToString() for each in requests])))
    assert [answer.correlation_id for answer in answers] == list(map(str, range(40)))
    assert max(groups) > 1
    for index, (request, answer) in enumerate(zip(requests, answers, strict=True)):
        if index == 7:
            details = Details(answer.error)
            assert (details.info.reason, details.field) == ("TEXT_TOO_LONG", "texts[5]")
            continue
        alone = pb.ClassifyRequest(model=request.model, texts=request.texts)
        if request.HasField("options"):
            alone.options.CopyFrom(request.options)
        wanted = stub.Classify(alone).classifications
        for found in (wanted, answer.classifications):
            found.ClearField("timings")
        assert wanted == answer.classifications


def test_two_requests_never_influence_each_other(
    stub: ClassificationServiceStub, world: World
) -> None:
    expected = world.expected("c")
    calls = []
    for index in range(60):
        options = pb.ClassifyOptions(top_k=index % 6)
        request = pb.ClassifyRequest(model="c", texts=TEXTS, options=options)
        calls.append((index % 6, stub.Classify.future(request)))
    for k, call in calls:
        found = call.result().classifications
        assert list(found.label_counts) == [min(max(k, 1), 5)] * 4
        best = np.array(found.probabilities).reshape(4, -1)[:, 0]
        np.testing.assert_allclose(best, expected.max(axis=1), atol=1e-5)


# What else the server tells


def test_metrics(server: Serving, stub: ClassificationServiceStub) -> None:
    def series() -> dict[str, float]:
        with urllib.request.urlopen(f"http://{server.server.metrics_address}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    before = series()
    ask(stub, "cut", ["card", "", "i am still waiting"])
    ask(stub, "c", ["card"])
    list(stub.ClassifyStream(iter([pb.ClassifyStreamRequest(model="c")])))
    after = series()

    def grown(name: str) -> float:
        return after[f"stillroom_classify_{name}"] - before[f"stillroom_classify_{name}"]

    assert grown('texts_total{model="cut"}') == 3
    assert grown('tokens_total{model="cut"}') == 3
    assert grown('truncated_texts_total{model="cut"}') == 1
    assert grown('warned_texts_total{model="cut"}') == 1
    assert grown('abstained_texts_total{model="cut"}') == 1
    assert grown('texts_total{model="c"}') == 1
    assert grown('stream_items_total{code="INVALID_ARGUMENT"}') == 1
    for phase in ("tokenize", "infer", "head", "serialize"):
        assert grown(f'phase_duration_seconds_count{{phase="{phase}"}}') == 2
    assert after['stillroom_embed_texts_total{model="s"}'] == 0
    assert 'stillroom_embed_texts_total{model="c"}' not in after


def test_what_is_loaded_and_healthy(server: Serving, stub: ClassificationServiceStub) -> None:
    ask(stub, "c", ["x"])
    info = ServerServiceStub(server.channel).GetServerInfo(
        server_service_pb2.GetServerInfoRequest()
    )
    loaded = {model.model_version: model for model in info.loaded_models}
    found = loaded["models/c/versions/2"]
    assert (found.engine, found.dimensions, found.max_tokens) == ("gather", DIMENSIONS, 512)
    assert found.memory_bytes > 0
    assert "classify" in info.capabilities
    health = health_pb2_grpc.HealthStub(server.channel)
    for service in ("models/c", "stillroom.v1.ClassificationService"):
        status = health.Check(health_pb2.HealthCheckRequest(service=service)).status
        assert status == health_pb2.HealthCheckResponse.SERVING


def test_a_classifier_that_does_not_load(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "c")
    (folder / "classifier.safetensors").write_bytes(b"torn")
    registry = Registry.open(tmp_path / "data")
    registry.publish("c", ModelKind.CLASSIFIER, folder)
    registry.close()
    with serving(tmp_path / "data") as running:
        stub = ClassificationServiceStub(running.channel)
        details = refused(stub, pb.ClassifyRequest(model="c", texts=["x"]))
        assert details.code is grpc.StatusCode.DATA_LOSS
        watch = health_pb2_grpc.HealthStub(running.channel).Watch(
            health_pb2.HealthCheckRequest(service="models/c"), timeout=60
        )
        statuses = (each.status for each in watch)
        assert health_pb2.HealthCheckResponse.NOT_SERVING in statuses


def test_classifiers_are_loaded_before_the_first_request(tmp_path: Path) -> None:
    with serving(World(tmp_path).data, preload=["c", "s"]) as running:
        request = server_service_pb2.GetServerInfoRequest()
        info = ServerServiceStub(running.channel).GetServerInfo(request)
        names = [model.model_version for model in info.loaded_models]
        assert names == ["models/s/versions/1", "models/c/versions/2"]


def test_streams_are_counted_with_all_others(tmp_path: Path) -> None:
    done = threading.Event()

    def items() -> Iterator[pb.ClassifyStreamRequest]:
        yield pb.ClassifyStreamRequest(model="c", texts=["x"])
        done.wait(60)

    with serving(World(tmp_path).data, max_concurrent_streams=1) as running:
        stub = ClassificationServiceStub(running.channel)
        first = stub.ClassifyStream(items())
        next(first)
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.ClassifyStream(iter([pb.ClassifyStreamRequest(model="c", texts=["x"])])))
        assert Details(caught.value).info.reason == "TOO_MANY_STREAMS"
        done.set()
        assert list(first) == []
