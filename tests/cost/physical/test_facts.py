"""Facts are read from what models state, and from nothing heavier than headers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cost.physical import folders

from stillroom_registry.errors import DataLoss, FailedPrecondition, StillroomError
from stillroom_registry.registry import ModelKind, Registry
from stillroom_server.cost.facts import of_folder, of_version


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    opened = Registry.open(tmp_path / "data")
    yield opened
    opened.close()


def test_a_teacher(registry: Registry, tmp_path: Path) -> None:
    folder = folders.bert(tmp_path / "t")
    version = registry.publish("t", ModelKind.TEACHER, folder)
    facts = of_version(registry, version)
    layer = 4 * 16 * 16 + 2 * 16 * 64
    assert (facts.layers, facts.hidden, facts.intermediate, facts.heads) == (2, 16, 64, 4)
    assert facts.parameters == 40 * 16 + 32 * 16 + 16 + 2 * layer
    assert facts.multiplied == 16 + 2 * layer
    assert facts.rows == 40
    # [CLS] and [SEP] go, and the reserved ones; [UNK] and [PAD] stay.
    assert (facts.vocabulary, facts.unused) == (40 - 2 - folders.UNUSED, folders.UNUSED)
    assert facts.max_tokens == 24
    assert facts.dimensions == 16
    assert facts.weight_bytes == (folder / "model.safetensors").stat().st_size
    assert facts.total_bytes == version.size
    assert facts.name == version.name
    assert of_folder(folder, ModelKind.TEACHER).parameters == facts.parameters


def test_another_version_of_the_same_files_has_its_own_name(
    registry: Registry, tmp_path: Path
) -> None:
    folder = folders.table(tmp_path / "s")
    names = [
        of_version(registry, registry.publish(name, ModelKind.STUDENT, folder)).name
        for name in ("a", "b")
    ]
    assert names == ["models/a/versions/1", "models/b/versions/1"]


def test_a_static_student(registry: Registry, tmp_path: Path) -> None:
    folder = folders.table(tmp_path / "s", max_length=100)
    facts = of_version(registry, registry.publish("s", ModelKind.STUDENT, folder))
    assert facts.is_table
    assert (facts.layers, facts.rows, facts.dimensions) == (0, 30, 8)
    assert facts.max_tokens == 100
    assert facts.element_type == "float16"
    assert facts.read_tokens(1e6) == 100


def test_a_student_without_a_limit(registry: Registry, tmp_path: Path) -> None:
    folder = folders.table(tmp_path / "s", max_length=None)
    facts = of_version(registry, registry.publish("s", ModelKind.STUDENT, folder))
    assert facts.read_tokens(1e6) == 1e6


def test_a_classifier_beside_its_student(registry: Registry, tmp_path: Path) -> None:
    folder = folders.head(folders.table(tmp_path / "c"), "static", "models/s/versions/1")
    facts = of_version(registry, registry.publish("c", ModelKind.CLASSIFIER, folder))
    assert (facts.kind, facts.labels, facts.dimensions) == ("classifier", 3, 8)
    assert facts.encoder is None
    assert facts.computing is facts


def test_a_classifier_of_a_teacher_knows_the_teacher(registry: Registry, tmp_path: Path) -> None:
    teacher = registry.publish("t", ModelKind.TEACHER, folders.bert(tmp_path / "t"))
    folder = folders.head(tmp_path / "c", "teacher", teacher.name, columns=16)
    facts = of_version(registry, registry.publish("c", ModelKind.CLASSIFIER, folder))
    assert facts.computing.name == teacher.name
    assert facts.computing.layers == 2
    assert facts.labels == 3


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"{"),
        ("config.json", b"[]"),
        ("modules.json", b'{"a": 1}'),
        ("model.safetensors", b"short"),
        ("model.safetensors", b"\xff" * 64),
        ("tokenizer.json", b'{"model": 3}'),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, file: str, content: bytes) -> None:
    folder = folders.bert(tmp_path / "t")
    (folder / file).write_bytes(content)
    with pytest.raises(StillroomError) as refused:
        of_folder(folder, ModelKind.TEACHER)
    assert isinstance(refused.value, DataLoss | FailedPrecondition)


def test_a_teacher_that_states_no_layers(tmp_path: Path) -> None:
    folder = folders.bert(tmp_path / "t")
    (folder / "config.json").write_text('{"model_type": "x", "hidden_size": 8}')
    with pytest.raises(FailedPrecondition, match="num_hidden_layers"):
        of_folder(folder, ModelKind.TEACHER)
