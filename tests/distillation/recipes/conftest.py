from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distillation.recipes.room import CHECKPOINTS, Room, asking

Maker = Callable[[str], Path]
Whole = Callable[[str], dict[str, str]]


@pytest.fixture(autouse=True)
def _short() -> Iterator[None]:
    """What other tests hold is cut short: the picture, the runs of parity, the measured texts. A
    checkpoint after every step instead, and no training that ends before its last epoch."""
    from stillroom_server.distillation import recipe
    from stillroom_server.distillation.fidelity import attach, measure
    from stillroom_server.distillation.transformer import parity
    from stillroom_server.distillation.tuning import training

    texts = measure.built_in_texts()[:60]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attach, "attach", lambda *_: None)
        patch.setattr(recipe, "PARITY_RUNS", 2)
        patch.setattr(parity, "RUNS", 2)
        patch.setattr(training, "PATIENCE", 1_000)
        patch.setattr(measure, "built_in_texts", lambda: texts)
        for module, name in CHECKPOINTS:
            patch.setattr(f"{module}.{name}", 0.0)
        yield


@pytest.fixture
def room(tmp_path: Path, teacher_of: Maker) -> Iterator[Room]:
    made = Room.open(tmp_path, teacher_of("bert"))
    yield made
    made.registry.close()


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, teacher_of: Maker) -> Iterator[Whole]:
    """The digests of what a recipe makes when nothing disturbs it."""
    made = Room.open(tmp_path_factory.mktemp("whole"), teacher_of("bert"))
    known: dict[str, dict[str, str]] = {}

    def bytes_of(recipe: str) -> dict[str, str]:
        if recipe not in known:
            name = recipe.replace("_", "-")
            made.distill(asking(recipe, name=name))
            known[recipe] = made.bytes_of(name)
        return known[recipe]

    yield bytes_of
    made.registry.close()
