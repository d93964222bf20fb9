from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classification.training.trainings import (
    LABELS,
    Clock,
    Context,
    Killed,
    run,
    same,
    several,
    texts,
)

from stillroom_registry.errors import Internal, InvalidArgument
from stillroom_server.classification.features.encode import encode_texts
from stillroom_server.classification.training import train as training
from stillroom_server.classification.training.fitted import Fitted
from stillroom_server.classification.training.judge import accuracy
from stillroom_server.distillation.context import Silent

HELD_OUT = {"held_out": 0.25}
STEPS = {"max_epochs": 6, "optimizer": {"batch_size": 16, "head_learning_rate": 0.1}}
KINDS: dict[str, dict[str, Any]] = {
    "lbfgs": {"linear": {"solver": "LINEAR_SOLVER_LBFGS"}},
    "closed": {"linear": {"solver": "LINEAR_SOLVER_CLOSED_FORM"}},
    "gradient": {"linear": {"solver": "LINEAR_SOLVER_GRADIENT"}, **STEPS},
    "mlp": {"mlp": {"hidden_sizes": [16]}, **STEPS},
    "weights": {"encoder_tuning": {"mode": "ENCODER_TUNING_MODE_TOKEN_WEIGHTS"}, **STEPS},
    "focal": {"focal_gamma": 2.0, "label_smoothing": 0.05, **STEPS},
    "auto": {},
}


def of_new_texts(folder: Path, options: dict[str, Any], count: int = 480, **more: Any) -> float:
    """The accuracy on texts that were never seen, by what would be stored."""
    trained, prepared, encoder = run(folder, texts(count), options, **more)
    new = texts(200, seed=9)
    encoded = encode_texts(encoder, [text for text, _ in new], Silent())
    rows = trained.table
    if trained.weights is not None:
        assert encoder.table is not None
        rows = encoder.table.rows * trained.weights[:, None]
    scores = Fitted(trained.head, rows).scores(encoded, encoder.table)
    targets = np.array([prepared.labels.index(label) for _, (label,) in new])
    return accuracy(scores, targets)


@pytest.mark.parametrize("kind", KINDS)
def test_learns_what_only_the_order_tells(tmp_path: Path, kind: str) -> None:
    options = {**KINDS[kind], "ngrams": {"mode": "NGRAM_MODE_ON"}}
    assert of_new_texts(tmp_path, options, scheme=HELD_OUT) > 0.9
    deaf = {**KINDS[kind], "ngrams": {"mode": "NGRAM_MODE_OFF"}}
    if kind in ("lbfgs", "closed"):
        assert of_new_texts(tmp_path / "deaf", deaf, scheme=HELD_OUT) < 0.8


@pytest.mark.parametrize("scheme", [HELD_OUT, {"folds": 3}])
def test_chooses_n_grams_where_they_gain(tmp_path: Path, scheme: dict[str, Any]) -> None:
    trained, prepared, _ = run(tmp_path, texts(240), scheme=scheme)
    assert trained.head.ngrams is not None
    assert trained.options.ngrams.on
    tried = trained.report["candidates"]
    assert len(tried) >= 2
    assert sum(found["chosen"] for found in tried) == 1
    chosen = next(found for found in tried if found["chosen"])
    assert chosen["log_loss"] == min(found["log_loss"] for found in tried)
    assert chosen["options"] == trained.options.to_json()
    assert all(found["seconds"] >= 0 for found in tried)
    assert prepared.labels == tuple(sorted(LABELS))


def test_every_choice_is_filled_in(tmp_path: Path) -> None:
    trained, _, encoder = run(tmp_path, texts(120), scheme=HELD_OUT)
    filled = trained.options.to_json()
    assert filled["linear"]["solver"] == "LINEAR_SOLVER_GRADIENT"
    assert filled["encoder_tuning"]["mode"] == "ENCODER_TUNING_MODE_TABLE_AND_TOKEN_WEIGHTS"
    assert filled["ngrams"].keys() >= {"mode"}
    assert filled["encoding"]["max_tokens"] == encoder.max_tokens
    assert filled["encoding"]["dimensions"] == encoder.dimensions
    assert filled["encoding"]["normalize"] is True
    assert filled["element_type"] == "ELEMENT_TYPE_FLOAT32"
    assert filled["max_epochs"] > 0
    assert filled["early_stopping"]["patience"] > 0
    optimizer = filled["optimizer"]
    assert min(optimizer[name] for name in optimizer if name != "weight_decay") > 0
    # What it chose for itself can be asked for, and gives the same.
    again, _, _ = run(tmp_path / "again", texts(120), filled, scheme=HELD_OUT)
    assert again.temperature == trained.temperature
    assert np.array_equal(again.head.layers[0][0], trained.head.layers[0][0])


def test_validation_texts_are_never_trained_on(tmp_path: Path) -> None:
    """With labels that say nothing, what was trained on is known by heart and the rest is not."""
    rng = np.random.default_rng(0)
    given = [(text, (LABELS[int(rng.integers(3))],)) for text, _ in texts(150)]
    given = list(dict(given).items())
    for scheme in (HELD_OUT, {"folds": 5}):
        trained, prepared, _ = run(tmp_path / str(scheme), given, KINDS["gradient"], scheme=scheme)
        assert accuracy(trained.scores, trained.targets) < 0.6
        assert (prepared.targets[trained.rows] == trained.targets).all()
        if "folds" in scheme:
            assert trained.rows.tolist() == list(range(len(given)))


def test_separate_validation_data_may_have_labels_of_its_own(tmp_path: Path) -> None:
    validation = [*texts(60, seed=3), ("漢 the", ("surprise",)), ("fee", ("surprise",))]
    trained, prepared, _ = run(tmp_path, texts(150), KINDS["gradient"], validation=validation)
    assert prepared.labels == tuple(sorted(LABELS))
    assert (trained.targets == -1).sum() == 2
    assert trained.scores.shape == (62, 3)
    assert trained.report["candidates"][0]["accuracy"] <= 60 / 62


def test_labels_with_one_example_are_trained_on(tmp_path: Path) -> None:
    rare = ("exchange exchange", ("rare",))
    for at, scheme in enumerate((HELD_OUT, {"folds": 3})):
        trained, prepared, _ = run(tmp_path / str(at), [*texts(90), rare], scheme=scheme)
        assert "rare" in prepared.labels
        assert trained.head.outputs == 4
        assert not (trained.targets == prepared.labels.index("rare")).any()


def test_several_labels(tmp_path: Path) -> None:
    options = {
        **{"task": "CLASSIFICATION_TASK_MULTI_LABEL", "class_weighting": 2},
        "class_weighting": "CLASS_WEIGHTING_BALANCED",
    }
    for kind in ("gradient", "lbfgs", "closed"):
        trained, prepared, _ = run(
            tmp_path / kind, several(200), {**options, **KINDS[kind]}, scheme=HELD_OUT
        )
        assert prepared.labels == ("one", "two")
        likely = 1 / (1 + np.exp(-trained.scores / trained.temperature))
        given = likely >= np.array(trained.thresholds)
        assert (given == trained.targets).all(axis=1).mean() > 0.95, kind
        assert trained.shared_thresholds == ()


def test_weights_move_what_is_answered(tmp_path: Path) -> None:
    plain = {"linear": {"solver": "LINEAR_SOLVER_LBFGS", "l2": 0.05}}
    plain["ngrams"] = {"mode": "NGRAM_MODE_OFF"}
    heavy = {**plain, "class_weights": {"values": {"reverse": 20.0}}}
    shares = []
    for at, kind in enumerate((plain, heavy)):
        trained, prepared, _ = run(tmp_path / str(at), texts(150), kind, scheme=HELD_OUT)
        answers = trained.scores.argmax(axis=1) == prepared.labels.index("reverse")
        shares.append(answers.mean())
    assert shares[1] > shares[0] + 0.1
    with pytest.raises(InvalidArgument, match="no such label"):
        run(tmp_path / "x", texts(60), {"class_weights": {"values": {"what": 2.0}}})


@pytest.mark.parametrize("kind", ["auto", "mlp", "weights", "lbfgs"])
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    options = {**KINDS[kind], "seed": str(2**64 - 1)}
    one, _, _ = run(tmp_path / "one", texts(120), options, scheme=HELD_OUT)
    two, _, _ = run(tmp_path / "two", texts(120), options, scheme=HELD_OUT)
    assert same(one, two)
    if kind != "lbfgs":
        other, _, _ = run(tmp_path / "three", texts(120), {**options, "seed": 8}, scheme=HELD_OUT)
        assert not same(one, other)


@pytest.mark.parametrize("kind", ["auto", "mlp", "lbfgs"])
@pytest.mark.parametrize("scheme", [HELD_OUT, {"folds": 2}])
def test_a_kill_changes_nothing(tmp_path: Path, kind: str, scheme: dict[str, Any]) -> None:
    """Checkpoints are made at every step, and the training is killed again and again, each time a
    little later: a solver begins its fit anew."""
    options = {**KINDS[kind], "encoder_tuning": {"token_dropout": 0.2}}
    if kind == "lbfgs":
        options = KINDS[kind]
    whole, _, _ = run(tmp_path / "whole", texts(60), options, scheme=scheme)
    kills = 0
    for attempt in range(200):
        context = Context(dies_at=23 + 5 * attempt)
        try:
            pieces, _, _ = run(
                tmp_path, texts(60), options, scheme=scheme, context=context, clock=Clock(5.0)
            )
            break
        except Killed:
            kills += 1
    else:
        pytest.fail("it never ends")
    assert kills >= 1
    assert same(whole, pieces)
    assert [epoch["training_loss"] for epoch in whole.report["epochs"]] == [
        epoch["training_loss"] for epoch in pieces.report["epochs"]
    ]


def test_a_checkpoint_of_another_training_is_left_alone(tmp_path: Path) -> None:
    run(tmp_path, texts(60), KINDS["gradient"], scheme=HELD_OUT, clock=Clock(5.0))
    options = {**KINDS["gradient"], "seed": 5}
    after, _, _ = run(tmp_path, texts(60), options, scheme=HELD_OUT)
    fresh, _, _ = run(tmp_path / "fresh", texts(60), options, scheme=HELD_OUT)
    assert same(after, fresh)


def test_stops_when_the_time_is_over(tmp_path: Path) -> None:
    options = {**KINDS["gradient"], "max_epochs": 1000, "time_budget_seconds": 100.0}
    clock = Clock(1.0)
    for at, scheme in enumerate((HELD_OUT, {"folds": 3})):
        clock.now = 0.0
        trained, _, _ = run(tmp_path / str(at), texts(90), options, scheme=scheme, clock=clock)
        assert trained.report["end"] == "TRAINING_END_TIME_BUDGET"
        assert clock.now < 300
        assert trained.scores.shape[1] == 3


def test_stops_early_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    given = [(text, (LABELS[int(rng.integers(3))],)) for text, _ in texts(100)]
    options = {**KINDS["gradient"], "max_epochs": 50, "early_stopping": {"patience": 2}}
    trained, _, _ = run(tmp_path, given, options, scheme=HELD_OUT)
    report = trained.report
    assert report["end"] == "TRAINING_END_EARLY_STOPPED"
    losses = [epoch["validation_loss"] for epoch in report["epochs"]]
    assert report["best_epoch"] == int(np.argmin(losses)) + 1
    assert len(losses) == report["best_epoch"] + 2
    disabled = {**options, "max_epochs": 5, "early_stopping": {"disabled": True}}
    trained, _, _ = run(tmp_path / "all", given, disabled, scheme=HELD_OUT)
    assert trained.report["best_epoch"] == len(trained.report["epochs"]) == 5
    assert trained.report["end"] == "TRAINING_END_MAX_EPOCHS"


@pytest.mark.parametrize("metric", ["ACCURACY", "MACRO_F1"])
def test_other_metrics_stop_it_too(tmp_path: Path, metric: str) -> None:
    stopping = {"patience": 2, "metric": f"EARLY_STOPPING_METRIC_{metric}"}
    options = {**KINDS["gradient"], "max_epochs": 40, "early_stopping": stopping}
    trained, _, _ = run(tmp_path, texts(120), options, scheme=HELD_OUT)
    accuracies = [epoch["validation_accuracy"] for epoch in trained.report["epochs"]]
    if metric == "ACCURACY":
        assert trained.report["best_epoch"] == int(np.argmax(accuracies)) + 1
    assert len(accuracies) < 40


def test_a_loss_that_is_no_number_registers_nothing(tmp_path: Path) -> None:
    options = {
        **KINDS["gradient"],
        "optimizer": {"head_learning_rate": 10.0, "weight_decay": 1e30, "batch_size": 16},
    }
    with np.errstate(all="ignore"), pytest.raises(Internal) as failed:
        run(tmp_path, texts(60), options, scheme=HELD_OUT)
    assert failed.value.reason == "LOSS_NOT_FINITE"


@pytest.mark.parametrize("stored", ["FLOAT16", "INT8"])
def test_scores_are_those_of_the_table_as_it_is_stored(tmp_path: Path, stored: str) -> None:
    options = {**KINDS["gradient"], "element_type": f"ELEMENT_TYPE_{stored}"}
    trained, prepared, encoder = run(tmp_path, texts(120), options, scheme=HELD_OUT)
    assert trained.table is not None
    assert trained.element_type == stored.lower()
    kept = [prepared.texts[row] for row in trained.rows]
    scores = Fitted(trained.head, trained.table).scores(
        encode_texts(encoder, kept, Silent()), encoder.table
    )
    assert np.allclose(scores, trained.scores, atol=1e-4)
    if stored == "FLOAT16":
        assert (trained.table == trained.table.astype(np.float16)).all()


def test_few_examples_take_no_steps(tmp_path: Path) -> None:
    given = texts(24)
    trained, _, _ = run(tmp_path, given)
    assert trained.options.solver == "lbfgs"
    assert trained.report["end"] == "TRAINING_END_SOLVED"
    assert (trained.table, trained.weights, trained.head.ngrams) == (None, None, None)
    assert trained.report["epochs"] == []


def test_tells_how_far_it_is(tmp_path: Path) -> None:
    context = Context()
    run(tmp_path, texts(90), KINDS["gradient"], scheme={"folds": 3}, context=context)
    phases = [phase for phase, _, _ in context.told]
    assert phases == sorted(phases, key=training.PHASES.index)
    done = [at for phase, at, _ in context.told if phase == "train"]
    assert done == sorted(done)
    assert done[-1] > 0
