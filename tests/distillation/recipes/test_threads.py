"""One thread, two, or a number that changes between any two steps: the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from distillation import teachers
from distillation.contexts import Context
from distillation.recipes.room import TRAINED, Room, asking, sentences

from stillroom_server.operations.pace import ThreadLimit, message

# Large enough for torch and for the fit to spread work over threads.
TEXTS = sentences(700)
WIDTH = 128


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teachers, "_HIDDEN", WIDTH)
        return teachers.make("bert", tmp_path_factory.mktemp("wide") / "bert")


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


class Paced(Context):
    """As the front changes the number of threads: in turn, at every look for cancellation."""

    def __init__(self, workspace: Path, *turns: int) -> None:
        super().__init__(workspace)
        self._limit = ThreadLimit()
        self._turns = turns
        self.seen: set[int] = set()
        self._looks = 0

    def check_cancelled(self) -> None:
        self._limit.hear(message(self._turns[self._looks % len(self._turns)]))
        self._limit.apply()
        self._looks += 1
        self.seen.add(torch.get_num_threads())
        super().check_cancelled()


def wide(recipe: str) -> dict[str, object]:
    request = asking(recipe, TEXTS)
    own = request["recipe"][recipe]
    own.get("static", own)["dimensions"] = 96
    return request


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["static", *TRAINED])
def test_threads_change_no_bit(
    tmp_path: Path, teacher: Path, recipe: str, teacher_of: Callable[[str], Path]
) -> None:
    found = []
    for number, turns in enumerate([(1,), (2,), (2, 1, 1)]):
        torch.set_num_threads(turns[0])
        room = Room.open(tmp_path / f"{number}", teacher)
        context = Paced(room.context().workspace, *turns)
        room.distill(wide(recipe), context)
        assert context.seen == set(turns)
        found.append(room.bytes_of())
        room.registry.close()
    assert found[0] == found[1] == found[2]
