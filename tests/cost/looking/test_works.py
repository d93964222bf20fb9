"""From operations as they are queued to work that can be estimated."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from inference.students import wordpiece, write_student
from rpc.estimating import write_teacher

from stillroom_registry.errors import NotFound
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind
from stillroom_server.cost.looking.data import Described
from stillroom_server.cost.looking.looking import Looking
from stillroom_server.cost.looking.works import Works
from stillroom_server.cost.workloads import DistillWork, ImportWork, TrainWork, TransferWork
from stillroom_server.security.paths import AllowedRoots


class Room:
    """A teacher ``t`` and a student ``s``, registered; the teacher's folder to import from."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.teacher = self.root / "teacher"
        self.teacher.mkdir(parents=True)
        write_teacher(self.teacher)
        (self.teacher / "tokenizer.json").write_text(wordpiece())
        (self.root / "d.csv").write_text("text,label\nthe card,a\nmoney,b\n")
        self.registry = Registry.open(folder / "data")
        self.registry.publish("t", ModelKind.TEACHER, self.teacher)
        self.student = self.registry.publish("s", ModelKind.STUDENT, write_student(folder / "s"))
        roots = AllowedRoots([self.root])
        self.works = Works(self.registry, Looking(self.registry, roots))


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.registry.close()


def test_a_distillation(room: Room) -> None:
    body = {"teacher": "models/t/versions/1", "recipe": {"auto": {}}, "corpus": {"texts": ["a"]}}
    work = room.works.of("distill", body)
    assert isinstance(work, DistillWork)
    assert work.body is body
    assert work.teacher is not None
    assert (work.teacher.name, work.teacher.dimensions) == ("models/t/versions/1", 64)
    assert work.data.texts is not None
    assert work.data.texts.value == 1
    assert work.imported is None


def test_a_teacher_that_is_imported_first_is_looked_at_where_it_lies(room: Room) -> None:
    source = {"path": str(room.teacher)}
    body = {"teacher_import": {"name": "new-teacher", "source": source}, "recipe": {"static": {}}}
    work = room.works.of("distill", body)
    assert isinstance(work, DistillWork)
    assert work.teacher is not None
    assert work.teacher.dimensions == 64
    assert work.imported is not None
    sizes = [path.stat().st_size for path in room.teacher.iterdir()]
    assert (work.imported.total_bytes, work.imported.files) == (sum(sizes), len(sizes))


def test_nobody_looks_at_the_hub(room: Room) -> None:
    source = {"hub": {"repo": "a/b", "revision": None}}
    body = {"teacher_import": {"name": "x", "source": source}, "recipe": {"static": {}}}
    work = room.works.of("distill", body)
    assert isinstance(work, DistillWork)
    assert work.teacher is None
    assert work.imported == ImportWork("hub", name="x")
    pulled = room.works.of("pull", {"name": "m", "repo": "a/b", "revision": None})
    assert pulled == TransferWork("pull", repo="a/b")
    described = room.works.of("pull", {"repo": "a/b"}, Described(total_bytes=7))
    assert described == TransferWork("pull", 7, repo="a/b")


def test_a_training(room: Room) -> None:
    data = {"path": str(room.root / "d.csv")}
    body = {"encoder": "models/s/versions/1", "options": {}, "data": data}
    work = room.works.of("train_classifier", {**body, "validation_data": data})
    assert isinstance(work, TrainWork)
    assert work.encoder.kind == "student"
    for facts in (work.data, work.validation):
        assert facts is not None
        assert facts.texts is not None
        assert facts.labels is not None
        assert (facts.texts.value, facts.labels.value) == (2, 2)
    alone = room.works.of("train_classifier", body)
    assert isinstance(alone, TrainWork)
    assert alone.validation is None


def test_imports_by_where_they_are_from(room: Room, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(b"x" * 123)
    source = {"upload": "uploads/u", "file": str(upload)}
    assert room.works.of("import", {"name": "m", "kind": None, "source": source}) == ImportWork(
        "upload", 123, name="m"
    )
    gone = {"upload": "uploads/u", "file": str(tmp_path / "gone")}
    assert room.works.of("import", {"name": "m", "source": gone}) == ImportWork("upload", name="m")
    by_path = {"name": "m", "kind": "teacher", "source": {"path": str(room.teacher)}}
    work = room.works.of("import", by_path)
    assert isinstance(work, ImportWork)
    assert work.model is not None
    wrong = {**by_path, "source": {"path": str(room.root)}}
    nothing = room.works.of("import", wrong)
    assert isinstance(nothing, ImportWork)
    assert nothing.model is None


def test_a_push(room: Room) -> None:
    work = room.works.of("push", {"model_version": room.student.name, "repo": "a/b"})
    assert isinstance(work, TransferWork)
    assert (work.total_bytes, work.files) == (room.student.size, len(room.student.files))


def test_other_kinds_are_not_estimated(room: Room) -> None:
    assert room.works.of("evaluate_classifier", {}) is None


def test_a_model_that_is_not_there_is_named_by_its_field(room: Room) -> None:
    with pytest.raises(NotFound) as caught:
        room.works.of("distill", {"teacher": "none", "recipe": {"static": {}}})
    assert caught.value.field == "teacher"
