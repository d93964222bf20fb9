from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.options import ClassifierOptions

EVERYTHING: dict[str, Any] = {
    "task": "CLASSIFICATION_TASK_MULTI_LABEL",
    "mlp": {"hidden_sizes": [64, 32], "dropout": 0.1},
    "encoder_tuning": {
        "mode": "ENCODER_TUNING_MODE_TABLE_AND_TOKEN_WEIGHTS",
        "token_dropout": 0.2,
    },
    "ngrams": {
        **{"mode": "NGRAM_MODE_ON", "min_n": 1, "max_n": 3},
        **{"max_features": 5000, "min_count": 2},
    },
    "encoding": {
        **{"truncate": True, "truncation_direction": "TRUNCATION_DIRECTION_LEFT"},
        **{"max_tokens": 32, "normalize": False, "dimensions": 8, "prompt": "ask: "},
    },
    "class_weights": {"values": {"a": 2.0, "b": 0.5}},
    "focal_gamma": 2.0,
    "label_smoothing": 0.1,
    "max_epochs": 7,
    "early_stopping": {
        **{"patience": 2, "min_delta": 0.01},
        "metric": "EARLY_STOPPING_METRIC_MACRO_F1",
    },
    "time_budget_seconds": 30.0,
    "optimizer": {
        **{"batch_size": 16, "head_learning_rate": 0.1},
        **{"encoder_learning_rate": 0.01, "weight_decay": 0.001},
    },
    "seed": "18446744073709551615",
    "calibration": "CALIBRATION_METHOD_NONE",
    "thresholds": {"minimum_precision": 0.9},
    "abstention": {"target_coverage": 0.8},
    "conflicts": "CONFLICT_POLICY_MAJORITY",
    "element_type": "ELEMENT_TYPE_INT8",
}


def test_goes_through_json() -> None:
    options = ClassifierOptions.from_json(EVERYTHING)
    assert options.to_json() == EVERYTHING
    assert ClassifierOptions.from_json(options.to_json()) == options
    plain = ClassifierOptions.from_json({})
    assert plain == ClassifierOptions()
    assert ClassifierOptions.from_json(plain.to_json()) == plain


def test_unset_is_the_servers_choice() -> None:
    options = ClassifierOptions.from_json(
        {
            "linear": {"solver": "LINEAR_SOLVER_UNSPECIFIED"},
            "max_epochs": 0,
            "time_budget_seconds": 0.0,
            "optimizer": {"batch_size": 0, "head_learning_rate": 0},
            "encoder_tuning": {"mode": 0},
            "thresholds": {},
            "task": "CLASSIFICATION_TASK_MULTI_LABEL",
        }
    )
    assert options.solver is None
    assert (options.max_epochs, options.time_budget_seconds) == (None, None)
    assert options.optimizer.batch_size is options.optimizer.head_learning_rate is None
    assert options.tuning.mode is options.thresholds is None
    assert ClassifierOptions.from_json({"ngrams": {"max_n": 3}}).ngrams.min_n == 2
    assert ClassifierOptions.from_json({"linear": {"l2": 0}}).head.l2 == 0.0  # type: ignore[union-attr]


LBFGS = {"solver": "LINEAR_SOLVER_LBFGS"}
CLOSED = {"solver": "LINEAR_SOLVER_CLOSED_FORM"}
TUNED = {"mode": "ENCODER_TUNING_MODE_TOKEN_WEIGHTS"}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (3, ""),
        ({"epochs": 1}, ".epochs"),
        ({"task": "BOTH"}, ".task"),
        ({"task": 7}, ".task"),
        ({"linear": {}, "mlp": {}}, ".mlp"),
        ({"linear": {"l2": -1}}, ".linear.l2"),
        ({"linear": {"l2": "NaN"}}, ".linear.l2"),
        ({"linear": {"solver": "LINEAR_SOLVER_MAGIC"}}, ".linear.solver"),
        ({"linear": LBFGS, "focal_gamma": 1.0}, ".focal_gamma"),
        ({"linear": CLOSED, "label_smoothing": 0.1}, ".label_smoothing"),
        ({"linear": LBFGS, "encoder_tuning": TUNED}, ".linear.solver"),
        ({"linear": CLOSED, "encoder_tuning": TUNED}, ".linear.solver"),
        ({"linear": CLOSED, "ngrams": {"max_features": 8193}}, ".ngrams.max_features"),
        ({"mlp": {"hidden_sizes": [0]}}, ".mlp.hidden_sizes[0]"),
        ({"mlp": {"hidden_sizes": [8, 8193]}}, ".mlp.hidden_sizes[1]"),
        ({"mlp": {"hidden_sizes": [1] * 9}}, ".mlp.hidden_sizes"),
        ({"mlp": {"dropout": 1.0}}, ".mlp.dropout"),
        ({"encoder_tuning": {"token_dropout": 1.0}}, ".encoder_tuning.token_dropout"),
        ({"ngrams": {"mode": "NGRAM_MODE_OFF", "max_n": 2}}, ".ngrams.max_n"),
        ({"ngrams": {"min_n": 3, "max_n": 2}}, ".ngrams.min_n"),
        ({"ngrams": {"max_n": 1}}, ".ngrams.min_n"),
        ({"ngrams": {"max_n": 6}}, ".ngrams.max_n"),
        ({"ngrams": {"max_features": 16_777_217}}, ".ngrams.max_features"),
        ({"ngrams": {"min_count": -1}}, ".ngrams.min_count"),
        ({"encoding": {"element_type": "ELEMENT_TYPE_INT8"}}, ".encoding.element_type"),
        ({"encoding": {"prompt": "a", "prompt_name": "b"}}, ".encoding.prompt_name"),
        ({"class_weights": {"values": {"a": 0}}}, ".class_weights.values.a"),
        ({"class_weights": {"values": {"a": "Infinity"}}}, ".class_weights.values.a"),
        ({"class_weights": {}, "class_weighting": 2}, ".class_weights"),
        ({"focal_gamma": 10.1}, ".focal_gamma"),
        ({"label_smoothing": 1.0}, ".label_smoothing"),
        ({"max_epochs": 10_001}, ".max_epochs"),
        ({"max_epochs": True}, ".max_epochs"),
        ({"early_stopping": {"disabled": True}}, ".early_stopping.disabled"),
        ({"early_stopping": {"patience": -1}}, ".early_stopping.patience"),
        ({"early_stopping": {"min_delta": -0.1}}, ".early_stopping.min_delta"),
        ({"time_budget_seconds": -1}, ".time_budget_seconds"),
        ({"time_budget_seconds": "Infinity"}, ".time_budget_seconds"),
        ({"optimizer": {"batch_size": 65_537}}, ".optimizer.batch_size"),
        ({"optimizer": {"head_learning_rate": 11}}, ".optimizer.head_learning_rate"),
        ({"optimizer": {"weight_decay": -1}}, ".optimizer.weight_decay"),
        ({"seed": -1}, ".seed"),
        ({"seed": str(2**64)}, ".seed"),
        ({"thresholds": {"fixed": 0.5}}, ".thresholds"),
        ({"abstention": {"target_accuracy": 0}}, ".abstention.target_accuracy"),
        ({"abstention": {"threshold": 0.5, "target_coverage": 0.5}}, ".abstention.target_coverage"),
        ({"element_type": "ELEMENT_TYPE_BINARY"}, ".element_type"),
    ],
)
def test_refuses_what_makes_no_sense(value: object, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        ClassifierOptions.from_json(value, path="options")
    assert refused.value.field == f"options{field}"


def test_encoders_that_are_no_static_student_have_nothing_to_tune() -> None:
    tuned = ClassifierOptions.from_json({"encoder_tuning": TUNED})
    tuned.check_encoder("static")
    for kind in ("transformer", "teacher"):
        with pytest.raises(InvalidArgument) as refused:
            tuned.check_encoder(kind)
        assert refused.value.field == "options.encoder_tuning.mode"
        with pytest.raises(InvalidArgument) as refused:
            ClassifierOptions.from_json({"ngrams": {"mode": "NGRAM_MODE_ON"}}).check_encoder(kind)
        assert refused.value.field == "options.ngrams.mode"
        ClassifierOptions.from_json({}).check_encoder(kind)


def test_weights_are_of_labels_that_there_are() -> None:
    options = ClassifierOptions.from_json({"class_weights": {"values": {"a": 2}}})
    options.check_labels(("a", "b"))
    with pytest.raises(InvalidArgument, match="no such label"):
        options.check_labels(("b", "c"))


def test_needs_nothing_that_trains() -> None:
    code = "import stillroom_server.classification.options, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "scipy", "onnx"} & set(done.stdout.split())
