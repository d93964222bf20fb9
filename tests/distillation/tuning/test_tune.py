from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distillation.tuning.support import (
    UNUSED,
    WIDTH,
    Clock,
    Context,
    Corpus,
    cosine,
    embed,
    encode_rows,
    make_texts,
    make_vocabulary,
    run,
    speak,
)

from stillroom_registry.errors import Cancelled, FailedPrecondition, InvalidArgument
from stillroom_server.distillation.tuning.mapping import token_weights
from stillroom_server.distillation.tuning.tune import PHASES, Tuned
from stillroom_server.operations.checkpoints import Checkpoints

NEW_TEXTS = make_texts(300, seed=9)
TRAINING = "stillroom_server.distillation.tuning.training"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Tuned:
    return run(tmp_path_factory.mktemp("tuned"))


def same(left: Tuned, right: Tuned) -> bool:
    return (
        left.table.tobytes() == right.table.tobytes()
        and left.tokenizer_json == right.tokenizer_json
        and left.axes.tobytes() == right.axes.tobytes()
    )


def test_fits_texts_it_has_not_seen_better_than_the_vocabulary_alone(tuned: Tuned) -> None:
    rows = encode_rows() @ tuned.axes
    rows *= token_weights(np.ones(len(rows)))[:, None]
    start = Tuned(rows, make_vocabulary().tokenizer_json, tuned.axes, {})
    assert cosine(tuned, NEW_TEXTS) > cosine(start, NEW_TEXTS) + 0.05
    losses = [epoch["held_out_loss"] for epoch in tuned.facts["history"]]
    assert len(losses) == 4
    assert tuned.facts["held_out_loss"] == min(losses) < losses[0]


def test_pairs_hear_what_order_says(tuned: Tuned, tmp_path: Path) -> None:
    deaf = run(tmp_path, grow_pairs=0)
    said, unsaid = ["ba be da"], ["be ba da"]
    assert tuned.facts["grown_pairs"] > 0
    assert deaf.facts["grown_pairs"] == 0
    assert np.allclose(embed(deaf, said), embed(deaf, unsaid), atol=1e-6)
    assert (embed(tuned, said) * embed(tuned, unsaid)).sum() < 0.97
    assert cosine(tuned, NEW_TEXTS) > cosine(deaf, NEW_TEXTS)


def test_a_word_that_no_text_holds_keeps_its_meaning(tuned: Tuned) -> None:
    assert cosine(tuned, [f"{UNUSED} {UNUSED}"]) > 0.5
    assert not tuned.table[0].any(), "the unknown token says nothing"


def test_prefixes_are_trained(tuned: Tuned, tmp_path: Path) -> None:
    trained = run(tmp_path, matryoshka_dimensions=[8, 4, 16])
    assert trained.facts["prefixes"] == [4, 8]
    assert not same(trained, tuned)


def test_the_number_of_threads_changes_nothing(tuned: Tuned, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert same(run(tmp_path / str(threads)), tuned)
    finally:
        torch.set_num_threads(before)


def test_another_seed_is_another_student(tuned: Tuned, tmp_path: Path) -> None:
    assert not same(run(tmp_path, static={"dimensions": 16, "seed": 1}), tuned)


class Killed(BaseException):
    pass


class Dying:
    """Checkpoints of a process that dies behind the ``nth``."""

    def __init__(self, folder: Path, nth: int) -> None:
        self._kept = Checkpoints(folder)
        self._left = nth

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        self._kept.save(step, write)
        self._left -= 1
        if not self._left:
            raise Killed

    def latest(self) -> Any:
        return self._kept.latest()


def test_goes_on_after_kills_to_the_same_bytes(tuned: Tuned, tmp_path: Path) -> None:
    # A checkpoint after every step, and death in the midst of an epoch, thrice.
    for attempt in range(3):
        with pytest.raises(Killed):
            run(tmp_path, checkpoints=Dying(tmp_path / "kept", 2), clock=Clock(60.0))
        assert (found := Checkpoints(tmp_path / "kept").latest())
        assert found[0] > attempt

    def paid_for_twice() -> Any:
        raise AssertionError("the rows are in the folder")

    finished = run(tmp_path, checkpoints=Checkpoints(tmp_path / "kept"), rows=paid_for_twice)
    assert same(finished, tuned)
    assert finished.facts["history"] == tuned.facts["history"]


def test_cancels_wherever_it_is_and_goes_on(tuned: Tuned, tmp_path: Path) -> None:
    context = Context()
    run(tmp_path / "whole", context=context)
    phases = [phase for phase, _, _ in context.told]
    assert tuple(dict.fromkeys(phases)) == PHASES
    assert context.told[-1][1] == context.told[-1][2] > 0
    for looks in (1, context.looks // 2, context.looks - 2):
        folder = tmp_path / str(looks)
        with pytest.raises(Cancelled):
            run(folder, context=Context(looks))
        assert same(run(folder), tuned)


def test_a_checkpoint_of_other_work_is_not_gone_on_with(tuned: Tuned, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, checkpoints=Dying(tmp_path / "checkpoints", 1), grow_pairs=0)
    assert same(run(tmp_path), tuned)


def test_a_spent_budget_keeps_the_best_so_far(tmp_path: Path) -> None:
    tuned = run(tmp_path, time_budget_seconds=1.0, clock=Clock(0.2))
    assert tuned.facts["stopped"] == "budget"
    assert 0 < tuned.facts["steps"] < 12
    assert np.isfinite(tuned.table).all()


def test_stops_when_held_out_texts_gain_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{TRAINING}.RATE", 0.2)
    tuned = run(tmp_path, Corpus(make_texts(160), speak), max_epochs=50)
    assert tuned.facts["stopped"] == "patience"
    assert tuned.facts["epochs"] < 50
    losses = [epoch["held_out_loss"] for epoch in tuned.facts["history"]]
    assert tuned.facts["held_out_loss"] == min(losses)


@pytest.mark.parametrize("count", [1, 2, 10, 127])
def test_a_small_corpus_is_refused_with_what_to_do(count: int, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="128 or more, or use the recipe static") as caught:
        run(tmp_path, Corpus(make_texts(count), speak))
    assert (caught.value.reason, caught.value.field) == ("CORPUS_TOO_SMALL", "corpus")


def test_fewer_texts_than_dimensions_will_do(tmp_path: Path) -> None:
    wide = np.random.default_rng(3).normal(size=(WIDTH, 300)).astype(np.float32)
    tuned = run(
        tmp_path,
        Corpus(make_texts(140), lambda texts: speak(texts) @ wide),
        rows=lambda: encode_rows() @ wide,
        static={"dimensions": 200},
    )
    assert tuned.table.shape[1] == 200
    assert np.isfinite(tuned.table).all()


def test_all_dimensions_or_a_share_of_the_variance(tmp_path: Path) -> None:
    whole = run(tmp_path, static={"dimensions": None}, max_epochs=1)
    assert whole.table.shape[1] == WIDTH
    assert whole.facts["explained_variance"] == 1.0
    part = run(tmp_path, static={"dimensions": 0.5}, max_epochs=1)
    assert part.table.shape[1] < WIDTH
    assert 0.5 <= part.facts["explained_variance"] < 0.7


@pytest.mark.parametrize(
    ("teacher", "reason"),
    [
        (lambda texts: np.ones((len(texts), WIDTH), np.float32), "TEACHER_CONSTANT"),
        (lambda texts: np.zeros((len(texts), WIDTH), np.float32), "TEACHER_CONSTANT"),
        (lambda texts: np.full((len(texts), WIDTH), math.nan, np.float32), "TEACHER_NOT_FINITE"),
    ],
)
def test_a_teacher_that_says_nothing_is_refused(teacher: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        run(tmp_path, Corpus(make_texts(200), teacher))
    assert (caught.value.reason, caught.value.field) == (reason, "teacher")


def test_texts_without_a_known_word(tmp_path: Path) -> None:
    texts = make_texts(300)
    strange = [f"{number} + {number}" for number in range(300)]
    tuned = run(tmp_path / "some", Corpus([*texts[:150], *strange, *texts[150:]], speak))
    assert np.isfinite(tuned.table).all()
    assert cosine(tuned, NEW_TEXTS) > 0.8
    random = np.random.default_rng(4)
    with pytest.raises(FailedPrecondition) as caught:
        run(
            tmp_path / "all",
            Corpus(strange, lambda t: random.normal(size=(len(t), WIDTH)).astype(np.float32)),
        )
    assert (caught.value.reason, caught.value.field) == ("NO_KNOWN_TOKENS", "corpus")


def test_more_dimensions_than_the_teacher_has(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        run(tmp_path, static={"dimensions": WIDTH + 1})
    assert caught.value.field == "static_tuned.static.dimensions"


def test_a_loss_that_is_no_number_ends_training_with_the_best_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{TRAINING}.RATE", math.inf)
    tuned = run(tmp_path)
    assert tuned.facts["stopped"] == "diverged"
    assert np.isfinite(tuned.table).all()
    assert cosine(tuned, NEW_TEXTS) > 0.8
