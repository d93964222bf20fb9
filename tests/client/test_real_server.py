"""The client against the server as it is: both halves of the protocol in one test."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from inference.students import write_student
from rpc.classifiers import LABELS, write_classifier
from rpc.test_access import make_certificate
from serving import serving

from stillroom import AsyncClient, Client, workloads
from stillroom.cli import main
from stillroom.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind

TOKEN = "a-token-of-sufficient-length"
TEXTS = [f"my card number {index} has not arrived yet" for index in range(700)]


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("student") / "files"
    write_student(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, student: Path) -> Path:
    """A data directory with two versions of the student ``s`` and one of the classifier ``c``."""
    folder = tmp_path_factory.mktemp("data")
    registry = Registry.open(folder)
    for _ in range(2):
        registry.publish("s", ModelKind.STUDENT, student)
    classifier = write_classifier(tmp_path_factory.mktemp("classifier") / "files")
    registry.publish("c", ModelKind.CLASSIFIER, classifier)
    registry.close()
    return folder


@pytest.fixture(scope="module")
def target(data: Path) -> Iterator[str]:
    # Small limits, so that the client has to keep to them.
    with serving(data, max_texts=100, max_request_bytes=20_000, max_response_bytes=4096) as server:
        yield server.address


@pytest.fixture
def client(target: str) -> Iterator[Client]:
    with Client(target) as made:
        yield made


def test_unary_stream_and_asyncio_agree(client: Client, target: str) -> None:
    vectors = client.embed(TEXTS, model="s")
    assert vectors.shape[0] == len(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(client.embed(TEXTS[:5], model="s@2"), vectors[:5])
    np.testing.assert_array_equal(client.embed(TEXTS[:100], model="s"), vectors[:100])
    batches = list(client.embed_stream(TEXTS, model="s", element_type="float16"))
    assert batches[0].model_version == "models/s/versions/2"
    assert np.concatenate([batch.vectors for batch in batches]).dtype == np.float16


async def test_asyncio(target: str) -> None:
    async with AsyncClient(target) as client:
        vectors = await client.embed(TEXTS, model="s")
        batches = [batch async for batch in client.embed_stream(TEXTS, model="s")]
        np.testing.assert_array_equal(np.concatenate([b.vectors for b in batches]), vectors)
        assert [m.name async for m in client.list_models(kind="student")] == ["models/s"]
        found = await client.classify(TEXTS, model="c")
        labels = [b.labels async for b in client.classify_stream(TEXTS, model="c")]
        assert [label for batch in labels for label in batch] == found.labels


def test_classifying_by_unary_and_stream_agrees(client: Client) -> None:
    found = client.classify(TEXTS, model="c", top_k=2, include_embeddings=True)
    assert found.model_version == "models/c/versions/1"
    assert found.label_counts.tolist() == [2] * len(TEXTS)
    few = client.classify(TEXTS[:20], model="c", top_k=2)
    assert few[:] == found[:20]
    assert set(found.classes) <= set(LABELS)
    assert found.embeddings is not None
    vectors = client.embed(TEXTS, model="s")
    np.testing.assert_allclose(found.embeddings, vectors, rtol=1e-5, atol=1e-6)
    whole = client.classify(TEXTS[0], model="c", top_k=len(LABELS))
    np.testing.assert_allclose(whole.label_probabilities.sum(), 1, rtol=1e-5)
    silent = client.classify("", model="c")
    assert silent.abstained.tolist() == [True]
    assert silent[0].warning == "empty"
    with pytest.raises(FailedPrecondition) as caught:
        client.classify("x", model="s")
    assert caught.value.reason == "NOT_A_CLASSIFIER"
    with pytest.raises(InvalidArgument) as wrong:
        client.classify("x", model="c", threshold=0.5)
    assert wrong.value.field == "options.threshold"
    with pytest.raises(FailedPrecondition):
        client.embed("x", model="c")


@pytest.mark.slow
def test_training_to_classifying(
    client: Client, target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "train.csv"
    rows = [f"my card number {index},card\nsend a transfer {index},other" for index in range(20)]
    table.write_text("\n".join(["query,intent", *rows, ""]))
    page = tmp_path / "report.html"
    columns = ["--text-column", "query", "--label-column", "intent", "--target", target]
    with pytest.raises(SystemExit) as left:
        main(
            ["train", "made", "--encoder", "s", "--data", str(table), "--html", str(page), *columns]
        )
    shown = capsys.readouterr()
    assert left.value.code == 0, shown.err
    assert "models/made/versions/1" in shown.out
    assert "40 examples" in shown.out
    assert page.read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(SystemExit) as left:
        main(["evaluate", "made", "--data", str(table), *columns, "--json"])
    answered = json.loads(capsys.readouterr().out)["response"]
    assert left.value.code == 0
    assert answered["report"]["accuracy"] == 1.0
    found = client.classify(["my card", "a transfer"], model="made")
    assert found.labels == ["card", "other"]
    with pytest.raises(InvalidArgument) as caught:
        client.evaluate_classifier("made", table, label_column="intents").result()
    assert caught.value.reason == "COLUMN_MISSING"
    with pytest.raises(FailedPrecondition):
        client.train_classifier("s", "s", [("a", "x"), ("b", "y")])


def test_errors_come_back_as_they_were_raised(client: Client) -> None:
    with pytest.raises(NotFound) as caught:
        client.embed("x", model="nope")
    assert caught.value.metadata == {"model": "nope"}
    with pytest.raises(InvalidArgument) as wrong:
        client.embed("x", model="s", dimensions=10_000)
    assert "dimensions" in str(wrong.value.field)
    with pytest.raises(InvalidArgument) as long:
        client.embed([*TEXTS[:250], "card " * 400], model="s", truncate=False, max_tokens=100)
    assert long.value.field == "texts[250]"
    with pytest.raises(PermissionDenied):
        client.import_model("m", server_path="/etc")
    with pytest.raises(FailedPrecondition):
        client.distill("s", "t")
    with pytest.raises(NotFound):
        client.roll_back_alias("s", "default")


def test_warnings(client: Client) -> None:
    (batch,) = client.embed_stream(["card", "", "漢字漢字 ☃"], model="s")
    assert (1, "empty") in [(warning.row, warning.kind) for warning in batch.warnings]
    assert batch.token_counts.tolist()[0] == 1
    assert not batch.vectors[1].any()


def test_tokenize(client: Client) -> None:
    (result,) = client.tokenize("my card", model="s").results
    assert list(result.tokens) == ["my", "card"]
    assert (list(result.starts), list(result.ends)) == ([0, 3], [2, 7])


def test_aliases_and_downloads(client: Client, tmp_path: Path, student: Path) -> None:
    assert client.set_alias("s", "prod", 1).version == 1
    version = client.download("s@prod", tmp_path / "s")
    assert version.name == "models/s/versions/1"
    theirs = {p.relative_to(student) for p in student.rglob("*") if p.is_file()}
    assert {p.relative_to(tmp_path / "s") for p in (tmp_path / "s").rglob("*.*")} >= theirs
    for path in theirs:
        assert (tmp_path / "s" / path).read_bytes() == (student / path).read_bytes()
    with pytest.raises(FailedPrecondition):
        client.delete_version("s@1")
    client.delete_alias("s", "prod")
    assert [v.version for v in client.list_versions("s", page_size=1)] == [2, 1]


def test_uploads(client: Client, student: Path) -> None:
    info = client.upload(student)
    assert info.complete
    assert client.get_upload(info.name).committed_bytes == info.committed_bytes
    client.delete_upload(info.name)
    with pytest.raises(NotFound):
        client.get_upload(info.name)


def test_the_command_line(target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = tmp_path / "t.txt"
    texts.write_text("\n".join(TEXTS))
    output = tmp_path / "v.npy"
    arguments = ["embed", "s", "--file", str(texts), "--output", str(output), "--target", target]
    with pytest.raises(SystemExit) as left:
        main([*arguments, "--json"])
    assert left.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"] == len(TEXTS)
    with Client(target) as client:
        np.testing.assert_array_equal(np.load(output), client.embed(TEXTS, model="s"))


def test_tls_and_a_token(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "server")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"alice {TOKEN}\n")
    tokens.chmod(0o600)
    with serving(
        tmp_path / "data", tls_certificate=certificate, tls_key=key, token_file=tokens
    ) as server:
        with Client(server.address, root_certificates=certificate, token=TOKEN) as client:
            assert client.server_info().version
        with (
            Client(server.address, root_certificates=certificate) as stranger,
            pytest.raises(Unauthenticated),
        ):
            stranger.server_info()
        with Client(server.address) as plain, pytest.raises(Unavailable):
            plain.server_info()


def test_estimates(client: Client) -> None:
    """What the client makes of the server's own answers, without a measurement of this machine."""
    found = client.estimate_cost(workloads.embed("s", 1000), calibration="never").estimate
    assert (found.kind, found.runnable) == ("embed", True)
    assert found.seconds.known
    assert not found.money_usd.known
    assert found.money_usd.note
    ways = client.estimate_cost(workloads.embed("s", 1000), calibration="never", recommend=True)
    assert ways.recommendation is not None
    assert ways.recommendation.ranked[0].request.DESCRIPTOR.name == "EmbedWorkload"
    moe = client.estimate_cost(workloads.paradigm("moe")).estimate
    assert (moe.runnable, moe.message.table.memory_multiplier.value) == (False, 2)
    with pytest.raises(InvalidArgument) as caught:
        client.estimate_cost(workloads.embed("s", -1))
    assert caught.value.field == "workload.embed.texts"
    with pytest.raises(NotFound):
        client.estimate_cost(workloads.embed("nobody", 1))
    assert client.list_devices().devices[0].in_host
    ran = list(client.estimate_ledger())  # by other tests of this module, if they came first
    assert all(entry.operation.startswith("operations/") for entry in ran)
    assert {item.kind for item in client.estimate_accuracy()} <= {entry.kind for entry in ran}


def test_estimates_for_people(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ("embed", "s", "--texts", "1000", "--measure", "never"),
        ("embed", "s", "--texts", "1000", "--measure", "never", "--compare"),
        ("fine-tune", "lora", "--rank", "8"),
        ("devices",),
    ):
        with pytest.raises(SystemExit) as left:
            main(["--target", target, "estimate", *arguments])
        assert not left.value.code, capsys.readouterr().err
    assert "gCO2e/kWh" in capsys.readouterr().out
