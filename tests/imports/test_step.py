"""A teacher's import as one phase of a distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from distillation.export.tiny import write_tiny
from imports.folders import teacher

from stillroom_registry.errors import Aborted, InvalidArgument, NotFound
from stillroom_registry.registry import ModelKind, Registry
from stillroom_server.imports.executor import ImportExecutor
from stillroom_server.imports.settings import ImportSettings
from stillroom_server.imports.step import PHASE, TeacherImport


class Context:
    """What the step sees of its operation."""

    attempt = 1
    operation_id = "1234"

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.phases: set[str] = set()
        self.lost = False

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        self.phases.add(phase)

    def moved(self, network_bytes: int) -> None: ...
    def check_cancelled(self) -> None: ...
    def confirm(self) -> None: ...

    def guard(self, connection: Any) -> None:
        if self.lost:
            raise Aborted("another attempt", reason="LEASE_LOST")


@pytest.fixture
def registry(tmp_path: Path) -> Any:
    opened = Registry.open(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture
def step(registry: Registry, tmp_path: Path) -> TeacherImport:
    return TeacherImport(ImportExecutor(ImportSettings(allow_root=(tmp_path,)), registry), registry)


def context(tmp_path: Path) -> Any:
    (tmp_path / "work").mkdir(exist_ok=True)
    return Context(tmp_path / "work")


def test_an_attempt_finds_what_the_one_before_it_brought(
    registry: Registry, step: TeacherImport, tmp_path: Path
) -> None:
    teacher(tmp_path / "teacher")
    request = {"name": "t", "source": {"path": str(tmp_path / "teacher")}}
    first = context(tmp_path)
    version = step(request, first)
    assert (version.name, version.kind) == ("models/t/versions/1", ModelKind.TEACHER)
    assert first.phases == {PHASE}
    again = context(tmp_path)
    assert step(request, again) == version
    assert again.phases == set()
    other = context(tmp_path)
    other.operation_id = "5678"
    assert step(request, other).name == "models/t/versions/2"


def test_an_attempt_that_lost_its_operation_publishes_nothing(
    registry: Registry, step: TeacherImport, tmp_path: Path
) -> None:
    teacher(tmp_path / "teacher")
    late = context(tmp_path)
    late.lost = True
    with pytest.raises(Aborted):
        step({"name": "t", "source": {"path": str(tmp_path / "teacher")}}, late)
    with pytest.raises(NotFound):
        registry.get_model("t")


def test_a_student_is_no_teacher(step: TeacherImport, tmp_path: Path) -> None:
    write_tiny(tmp_path / "student")
    with pytest.raises(InvalidArgument) as caught:
        step({"name": "t", "source": {"path": str(tmp_path / "student")}}, context(tmp_path))
    assert caught.value.reason == "KIND_MISMATCH"
