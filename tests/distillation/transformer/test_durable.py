"""The same bytes after a kill, on one core or two; stopping in time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distillation.transformer import students

from stillroom_registry.errors import Cancelled
from stillroom_server.distillation.transformer import training
from stillroom_server.operations.checkpoints import Checkpoints

Maker = Callable[[str], Path]


class Killed(BaseException):
    """Nothing that the product catches."""


class StopAt:
    """A context that ends everything once training has done so many steps."""

    def __init__(self, step: int, error: BaseException | type[BaseException]) -> None:
        self._step, self._error, self._now = step, error, -1

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        self._now = done if phase == "train" else -1

    def check_cancelled(self) -> None:
        if self._now >= self._step:
            raise self._error


@pytest.mark.parametrize("step", [3, 6, 11])
def test_killed_and_resumed_is_uninterrupted(
    teacher_of: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Checkpoints at every step; the kill is in an epoch, at its end, and near the end of all."""
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    given = students.corpus()
    known = students.features(teacher_of("bert"), given)
    whole: dict[str, Any] = {"given": given, "known": known, "dimensions": 24}
    straight = students.distill(teacher_of("bert"), tmp_path / "whole", **whole)

    kept = Checkpoints(tmp_path / "kept")
    with pytest.raises(Killed):
        students.distill(
            teacher_of("bert"),
            tmp_path / "cut",
            checkpoints=kept,
            context=StopAt(step, Killed),
            **whole,
        )
    latest = kept.latest()
    assert latest is not None
    assert 0 < latest[0] <= step
    resumed = students.distill(teacher_of("bert"), tmp_path / "cut", checkpoints=kept, **whole)
    assert students.digests(tmp_path / "cut") == students.digests(tmp_path / "whole")
    assert "onnx/model.onnx" in students.digests(tmp_path / "cut")
    assert resumed["history"] == straight["history"]
    assert resumed["steps"] == straight["steps"] == 12


def test_killed_after_training_does_not_train_again(teacher_of: Maker, tmp_path: Path) -> None:
    class InWrite(StopAt):
        def progress(self, phase: str, *args: Any, **more: Any) -> None:
            self._now = 1 if phase == "write" else -1

    kept = Checkpoints(tmp_path / "kept")
    with pytest.raises(Killed):
        students.distill(
            teacher_of("bert"), tmp_path / "s", checkpoints=kept, context=InWrite(1, Killed)
        )
    seen: list[str] = []

    class Watcher(StopAt):
        def progress(self, phase: str, *args: Any, **more: Any) -> None:
            seen.append(phase)

    students.distill(
        teacher_of("bert"), tmp_path / "s", checkpoints=kept, context=Watcher(1, Killed)
    )
    assert "train" not in seen
    assert (tmp_path / "s/onnx/model.onnx").is_file()


def test_a_checkpoint_of_another_training_is_not_taken(teacher_of: Maker, tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "kept")
    students.distill(teacher_of("bert"), tmp_path / "a", checkpoints=kept, verify=False)
    other = students.distill(
        teacher_of("bert"), tmp_path / "b", checkpoints=kept, verify=False, seed=1
    )
    assert len(other["history"]) == 3
    students.distill(teacher_of("bert"), tmp_path / "c", verify=False, seed=1)
    assert students.digests(tmp_path / "b") == students.digests(tmp_path / "c")
    assert students.digests(tmp_path / "b") != students.digests(tmp_path / "a")


def test_the_number_of_cores_changes_nothing(teacher_of: Maker, tmp_path: Path) -> None:
    given = students.corpus()
    known = students.features(teacher_of("modernbert"), given)
    turns = itertools.cycle([1, 2, 2, 1, 1])
    for name, threads in {"one": lambda: 1, "two": lambda: 2, "mixed": lambda: next(turns)}.items():
        students.distill(
            teacher_of("modernbert"),
            tmp_path / name,
            given=given,
            known=known,
            threads=threads,
            element_type=None,
            verify=False,
        )
    one = students.digests(tmp_path / "one")
    assert one == students.digests(tmp_path / "two")
    assert one == students.digests(tmp_path / "mixed")


def test_cancelled_while_a_piece_computes(teacher_of: Maker, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        students.distill(teacher_of("bert"), tmp_path / "s", context=StopAt(2, Cancelled("stop")))
    assert not (tmp_path / "s").exists()


def test_a_time_budget_ends_with_the_best_so_far(teacher_of: Maker, tmp_path: Path) -> None:
    """Each look at the clock costs half a second."""
    ticks = itertools.count(0.0, 0.5)
    facts = students.distill(
        teacher_of("bert"),
        tmp_path / "s",
        max_epochs=500,
        time_budget_seconds=40.0,
        clock=lambda: next(ticks),
        verify=False,
    )
    assert facts["stopped"] == "time budget"
    assert 24 <= facts["steps"] < 60
    assert facts["held_out_cosine"] == max(row["cosine"] for row in facts["history"])
    assert facts["history"][-1]["step"] == facts["steps"]
