"""Copies between two servers as they are: every kind, byte for byte, serving at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from distillation import teachers
from serving import serving

from stillroom import AsyncClient, Client, errors
from stillroom.cli import main
from stillroom.copies import Copied
from stillroom.v1 import model_pb2
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind

pytestmark = pytest.mark.slow
TEXTS = ["please help me change my pin", "the fee was charged twice", "card", ""]
EXAMPLES = [
    (f"{word} {more}", label)
    for label, word in (("yes", "card"), ("no", "money"))
    for more in ("account", "change", "pin", "code", "fee", "top", "up", "failed", "new", "my")
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a teacher, a student of it, and a classifier on each of them."""
    root, data = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("source")
    folder = teachers.make("bert", root / "t")
    with serving(data, allow_root=[root]) as running, Client(running.address) as client:
        client.import_model("t", server_path=str(folder), labels={"team": "search"}).result()
        client.distill("t", "s", recipe="static", dimensions=16).result()
        for name, encoder in (("c", "s"), ("ct", "t")):
            client.train_classifier(name, encoder, EXAMPLES).result()
        yield running.address


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server to copy to under a name of one's own."""
    with serving(tmp_path_factory.mktemp("shared")) as running:
        yield running.address


@pytest.fixture
def target(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "target") as running:
        yield running.address


@pytest.fixture
def here(source: str) -> Iterator[Client]:
    with Client(source) as client:
        yield client


@pytest.fixture
def there(target: str) -> Iterator[Client]:
    with Client(target) as client:
        yield client


def hold(copied: Copied) -> model_pb2.ModelVersion:
    """That the copy is the same, but for where it is from; the version."""
    before, after = copied.source, copied.version
    assert (copied.identical, copied.was_there, copied.anew) == (True, False, False)
    assert (copied.left_out, copied.changed) == ((), ())
    assert list(after.files) == list(before.files)
    assert (after.digest, after.kind) == (before.digest, before.kind)
    assert after.fidelity == before.fidelity
    origin = after.metadata["origin"]["peer"]
    assert (origin["model_version"], origin["digest"]) == (before.name, before.digest)
    kept = model_pb2.ModelVersion(metadata=after.metadata).metadata
    expected = model_pb2.ModelVersion(metadata=before.metadata).metadata
    for metadata in (kept, expected):
        metadata.fields.pop("origin", None)
    assert kept == expected
    return after


def test_every_kind_comes_over_the_same_and_serves(here: Client, there: Client) -> None:
    teacher = hold(here.copy_model("t", there))
    assert dict(there.get_model("t").labels) == {"team": "search"}
    student = hold(here.copy_model("s", there, "mini"))
    assert student.HasField("fidelity")
    assert list(student.parents) == [teacher.name]
    hold(here.copy_model("c", there))
    np.testing.assert_array_equal(there.embed(TEXTS, model="mini"), here.embed(TEXTS, model="s"))
    for name in ("c",):
        answers = [client.classify(TEXTS, model=name) for client in (here, there)]
        assert [each.labels for each in answers[0]] == [each.labels for each in answers[1]]
    lineage = there.get_lineage("c")
    assert {(edge.parent, edge.child, edge.relation) for edge in lineage.edges} == {
        ("models/t/versions/1", "models/mini/versions/1", "distill"),
        ("models/mini/versions/1", "models/c/versions/1", "train"),
    }
    assert not there.verify("mini").result().damaged_files


def test_a_classifier_finds_its_teacher_by_what_it_is(here: Client, there: Client) -> None:
    with pytest.raises(errors.FailedPrecondition) as caught:
        here.copy_model("ct", there)
    assert caught.value.reason == "ENCODER_MISSING"
    with pytest.raises(errors.NotFound):
        there.get_model("ct")
    here.copy_model("t", there, "renamed")
    hold(here.copy_model("ct", there))
    answers = [client.classify(TEXTS, model="ct") for client in (here, there)]
    assert [each.labels for each in answers[0]] == [each.labels for each in answers[1]]


def test_the_same_version_is_there_once(here: Client, there: Client) -> None:
    first = here.copy_model("s", there)
    again = here.copy_model("s", there)
    assert (again.was_there, again.version.name) == (True, first.version.name)
    back = there.copy_model("s", here)
    assert (back.was_there, back.version.name) == (True, first.source.name)
    other = there.copy_model("s", there, "other")
    assert list(hold(other).parents) == [first.version.name]


def test_a_damaged_copy_is_healed_by_another(here: Client, there: Client, tmp_path: Path) -> None:
    copied = here.copy_model("s", there)
    path, digest = copied.version.files[0].path, copied.version.files[0].digest
    hexadecimal = digest.removeprefix("sha256:")
    blob = tmp_path / "target/blobs/sha256" / hexadecimal[:2] / hexadecimal
    blob.chmod(0o600)
    blob.write_bytes(b"no")
    assert [file.path for file in there.verify("s").result().damaged_files] == [path]
    healed = here.copy_model("s", there)
    assert not healed.was_there
    assert not there.get_version(copied.version.name).damaged_files
    assert not there.verify(healed.version.name).result().damaged_files


async def test_asyncio(source: str, shared: str) -> None:
    async with AsyncClient(source) as here, AsyncClient(shared) as there:
        hold(await here.copy_model("s", there, "asyncio"))


def test_the_command(
    source: str, shared: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as left:
        main(
            [
                *("models", "copy", "s", "mini", "--from", source, "--to", shared),
                *("--temporary", str(tmp_path)),
            ]
        )
    assert left.value.code in (0, None)
    captured = capsys.readouterr()
    assert captured.out == "models/mini/versions/1\n"
    assert "anew" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_what_was_published_with_no_manifest_is_refused(tmp_path: Path, shared: str) -> None:
    from inference.students import write_student

    registry = Registry.open(tmp_path / "bare")
    registry.publish("s", ModelKind.STUDENT, write_student(tmp_path / "student"))
    registry.close()
    with (
        serving(tmp_path / "bare") as running,
        Client(running.address) as here,
        Client(shared) as there,
    ):
        with pytest.raises(errors.FailedPrecondition) as caught:
            here.copy_model("s", there, "bare")
        assert caught.value.reason == "COPY_REFUSED"
