"""Phases are named and counted as the executors report them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from cost.physical import models

import stillroom_server
from stillroom_server.classification.executor import PHASES as TRAIN_PHASES
from stillroom_server.cost.physical.build import build
from stillroom_server.cost.workloads import ImportWork, TransferWork, Work
from stillroom_server.distillation.executor import PHASES as DISTILL_PHASES
from stillroom_server.imports.executor import ImportExecutor
from stillroom_server.sync.push import PushExecutor

SERVER = Path(stillroom_server.__file__).parent
TUNED: dict[str, Any] = {"static_tuned": {}}
SHALLOW: dict[str, Any] = {"transformer": {}}
QUANTIZE: dict[str, Any] = {"quantize": {"element_type": "int8"}}


def names(work: Work) -> list[str]:
    return [phase.name for phase in build(work, models.place()).phases]


def reported(*rooms: str) -> dict[str, set[str]]:
    """Units by phase, as the code of these rooms reports them."""
    found: dict[str, set[str]] = {}
    phase = re.compile(
        r'progress\(\s*(?:"(\w+)"|(\w*PHASE\w*)|(phase))\s*,[^)]*?unit="(\w+)"', re.S
    )
    constant = re.compile(r'^_?PHASE\w* = "(\w+)"', re.M)
    for room in rooms:
        for file in (SERVER / room).rglob("*.py"):
            text = file.read_text()
            own = constant.search(text)
            for literal, by_name, _, unit in phase.findall(text):
                name = literal or (own.group(1) if by_name and own else "")
                if name:
                    found.setdefault(name, set()).add(unit)
    return found


@pytest.mark.parametrize(
    ("recipe", "texts", "expected"),
    [
        ({"static": {}}, None, "load encode reduce write verify report publish"),
        (
            TUNED,
            5_000.0,
            "corpus featurize load prepare encode fit train write verify report publish",
        ),
        (SHALLOW, 5_000.0, "corpus featurize prepare train write verify report publish"),
    ],
)
def test_the_phases_of_a_recipe(recipe: dict[str, Any], texts: float | None, expected: str) -> None:
    assert names(models.distill(recipe, texts=texts)) == expected.split()
    assert set(expected.split()) <= set(DISTILL_PHASES)


def test_the_phases_of_quantizing() -> None:
    found = names(models.distill(QUANTIZE, models.student()))
    assert found == ["load", "quantize", "write", "verify", "report", "publish"]


def test_the_phases_of_a_training() -> None:
    assert tuple(names(models.train(models.student(), 3_000, 6))) == TRAIN_PHASES


def test_the_phases_of_transfers() -> None:
    pushed = tuple(names(TransferWork("push", 1_000, 3)))
    # A tag is set only where one is asked for.
    assert pushed == tuple(name for name in PushExecutor.phases if name != "tag")
    assert tuple(names(TransferWork("pull", 1_000, 3))) == ImportExecutor.phases
    assert tuple(names(ImportWork("hub", 1_000, 3))) == ImportExecutor.phases


def test_an_import_is_one_phase_of_a_distillation() -> None:
    work = models.distill({"static": {}})
    imported = ImportWork("path", 90_000_000, 9, models.teacher())
    both = build(type(work)(work.body, work.teacher, work.data, imported), models.place())
    assert [phase.name for phase in both.phases][:2] == ["import", "load"]


def test_units_are_those_that_executors_count() -> None:
    units = reported("distillation", "operations")
    assert units["encode"] == {"tokens"}, "the search finds nothing"
    for work in (
        models.distill({"static": {}}),
        models.distill(TUNED, texts=5_000.0),
        models.distill(SHALLOW, texts=5_000.0),
        models.distill(QUANTIZE, models.student()),
    ):
        for phase in build(work, models.place()).phases:
            if phase.name in units:
                assert phase.unit in units[phase.name], phase.name
    units = reported("classification") | {"encode": {"texts"}}
    for phase in build(models.train(models.student(), 3_000, 6), models.place()).phases:
        if phase.name in units:
            assert phase.unit in units[phase.name], phase.name


def test_auto_takes_what_the_corpus_allows() -> None:
    assert "train" in names(models.distill(texts=5_000.0))
    assert "train" not in names(models.distill(texts=100.0))
    assert "train" not in names(models.distill())
