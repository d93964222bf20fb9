"""Distillation as an operation: publishing and success are one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stillroom_registry.errors import (
    Aborted,
    Cancelled,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from stillroom_registry.registry import ModelKind, Registry
from stillroom_server.distillation.executor import DistillExecutor, read_request

Maker = Callable[[str], Path]


class Context:
    """As ``OperationContext`` to an executor; fails where a test says so."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.attempt = 1
        self.results: list[Any] = []
        self.phases: list[str] = []
        self.cancel_in: str | None = None
        self.lease_lost = False

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        assert phase in DistillExecutor.phases
        self.phases.append(phase)

    def check_cancelled(self) -> None:
        if self.phases[-1] == self.cancel_in:
            raise Cancelled("stop")

    def succeed(self, connection: Any, result: Any) -> None:
        if self.lease_lost:
            raise Aborted("another attempt owns this", reason="LEASE_LOST")
        self.results.append(json.loads(json.dumps(result)))


@pytest.fixture
def registry(tmp_path: Path, teacher_of: Maker) -> Iterator[Registry]:
    opened = Registry.open(tmp_path / "data")
    opened.publish("tiny-bert", ModelKind.TEACHER, teacher_of("bert"))
    yield opened
    opened.close()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "work").mkdir()
    return Context(tmp_path / "work")


REQUEST: dict[str, Any] = {
    "teacher": "models/tiny-bert/versions/1",
    "name": "small",
    "recipe": {"static": {"dimensions": 12, "add_words": ["zymurgy"]}},
    "description": "for a test",
    "labels": {"team": "still"},
}


def test_the_student_and_the_success_are_published_together(
    registry: Registry, context: Context
) -> None:
    result = DistillExecutor({"dtype": "float32"}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    version = registry.resolve("small")
    assert context.results == [result]
    assert result["model_version"] == version.name == "models/small/versions/1"
    assert result["teacher_version"] == version.parents[0] == "models/tiny-bert/versions/1"
    assert version.kind is ModelKind.STUDENT
    assert version.metadata["report"]["dimensions"] == 12
    assert version.metadata["options"]["add_words"] == ["zymurgy"]
    model = registry.get_model("small")
    assert (model.description, dict(model.labels)) == ("for a test", {"team": "still"})
    names = {file.path for file in version.files}
    assert {"model.safetensors", "tokenizer.json", "onnx/model.onnx", "stillroom.json"} <= names
    # All but "import": this teacher is registered.
    assert ("import", *dict.fromkeys(context.phases)) == DistillExecutor.phases
    assert not list(context.workspace.iterdir())


def test_the_published_student_serves(registry: Registry, context: Context) -> None:
    from stillroom_server.inference.embedder import EmbedOptions, StudentEmbedder

    DistillExecutor({}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    embedder = StudentEmbedder.load(registry.folder(registry.resolve("small")))
    vectors = embedder.embed(["the zymurgy house"], EmbedOptions()).vectors
    assert vectors.shape == (1, 12)
    np.testing.assert_allclose(np.linalg.norm(vectors), 1, atol=1e-5)


def test_a_lost_lease_publishes_nothing(registry: Registry, context: Context) -> None:
    context.lease_lost = True
    with pytest.raises(Aborted):
        DistillExecutor({}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        registry.resolve("small")


@pytest.mark.parametrize("phase", ["encode", "verify", "publish"])
def test_cancelling_publishes_nothing(registry: Registry, context: Context, phase: str) -> None:
    context.cancel_in = phase
    with pytest.raises(Cancelled):
        DistillExecutor({}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        registry.resolve("small")
    # and what it left behind does not stand in the way of the next try
    context.cancel_in = None
    DistillExecutor({}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    assert registry.resolve("small").version == 1


def test_a_student_is_no_teacher(registry: Registry, context: Context) -> None:
    executor = DistillExecutor({}, registry)
    executor.run(REQUEST, context)  # type: ignore[arg-type]
    with pytest.raises(FailedPrecondition) as caught:
        executor.run({**REQUEST, "teacher": "models/small/versions/1"}, context)  # type: ignore[arg-type]
    assert (caught.value.reason, caught.value.field) == ("NOT_A_TEACHER", "teacher")


def test_a_full_disk_is_said_plainly(
    registry: Registry, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from stillroom_server.distillation.export import student_folder

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(student_folder, "save_file", full)
    with pytest.raises(ResourceExhausted) as caught:
        DistillExecutor({}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    assert caught.value.reason == "DISK_FULL"


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("teacher", {"teacher": None}),
        ("name", {"name": None}),
        ("name", {"name": "No Such Name"}),
        ("name", {"name": "small@3"}),
        ("recipe", {"recipe": {"alchemy": {}}}),
        ("static.dimensions", {"recipe": {"static": {"dimensions": 0}}}),
        ("static", {"recipe": {"static": [1]}}),
    ],
)
def test_requests_are_checked(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read_request({**REQUEST, **changes})
    assert caught.value.field == field
