"""Checkpoints are whole or not there."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from stillroom_registry.errors import Aborted, ResourceExhausted
from stillroom_server.operations.checkpoints import Checkpoints


def writer(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "inner").mkdir()
        (folder / "inner" / "state").write_text(text)
        (folder / "step").write_text(text)

    return write


def state(checkpoints: Checkpoints) -> tuple[int, str] | None:
    latest = checkpoints.latest()
    return None if latest is None else (latest[0], (latest[1] / "inner" / "state").read_text())


def test_the_latest_is_found_by_whoever_comes_next(tmp_path: Path) -> None:
    assert state(Checkpoints(tmp_path / "c")) is None
    for step in (1, 2, 30):
        Checkpoints(tmp_path / "c").save(step, writer(f"state {step}"))
    assert state(Checkpoints(tmp_path / "c")) == (30, "state 30")
    names = sorted(path.name for path in (tmp_path / "c").iterdir())
    assert names == ["step-00000002", "step-00000030"]


@pytest.mark.parametrize("damage", ["cut", "missing", "seal", "seal is a list"])
def test_a_damaged_one_gives_way_to_the_one_before(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, writer("one"))
    checkpoints.save(2, writer("two"))
    newest = tmp_path / "step-00000002"
    match damage:
        case "cut":
            (newest / "inner" / "state").write_text("tw")
        case "missing":
            (newest / "step").unlink()
        case "seal":
            (newest / "seal.json").write_text("{")
        case _:
            (newest / "seal.json").write_text("[1]")
    assert state(checkpoints) == (1, "one")
    assert not newest.exists()
    checkpoints.save(2, writer("two again"))
    assert state(checkpoints) == (2, "two again")


def test_a_step_saved_twice_is_replaced(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, writer("one"))
    checkpoints.save(1, writer("one, once more"))
    assert state(checkpoints) == (1, "one, once more")


def test_an_attempt_that_lost_its_operation_names_nothing(tmp_path: Path) -> None:
    def lost() -> None:
        raise Aborted("another has it")

    Checkpoints(tmp_path).save(1, writer("one"))
    with pytest.raises(Aborted):
        Checkpoints(tmp_path, lost).save(2, writer("two"))
    assert state(Checkpoints(tmp_path)) == (1, "one")
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_full_disk_leaves_the_older_one(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, writer("one"))
    with pytest.raises(ResourceExhausted) as caught:
        checkpoints.save(2, full)
    assert caught.value.reason == "DISK_FULL"
    assert state(checkpoints) == (1, "one")
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_what_a_kill_left_half_written_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "unfinished-1-7").mkdir()
    (tmp_path / "unfinished-1-7" / "state").write_text("half")
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.latest() is None
    checkpoints.save(8, writer("eight"))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000008"]


def test_saved_is_told_when_the_checkpoint_is_there(tmp_path: Path) -> None:
    seen: list[tuple[int, str] | None] = []
    checkpoints = Checkpoints(tmp_path, saved=lambda: seen.append(state(Checkpoints(tmp_path))))
    checkpoints.save(1, writer("one"))
    assert seen == [(1, "one")]
