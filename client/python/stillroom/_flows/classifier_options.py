"""ClassifierOptions from keyword options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from stillroom._flows import embed_options
from stillroom._flows.embed_options import known
from stillroom._protocol import enums
from stillroom._protocol.messages import build
from stillroom.embeddings import EmbedOptions
from stillroom.errors import InvalidArgument
from stillroom.v1 import classification_service_pb2 as pb
from stillroom.v1 import common_pb2


class TrainOptions(TypedDict, total=False):
    """How to train a classifier. What is left out, or None, is the server's choice, made on the
    validation data.

    multi_label        True: each text has any number of labels, instead of exactly one
    head               "linear" or "mlp"; one of their options says as much
    tuning             what of the encoder is trained: "frozen", "token_weights" or
                       "table_and_token_weights" (the last two: static students)
    token_dropout      share of a text's tokens left out of each step, where it is tuned
    encoding           how texts are embedded, in training and later: an EmbedOptions without
                       element_type
    class_weights      "balanced", "none" or a dict of weights by label
    focal_gamma        gamma of the focal loss (0: cross-entropy)
    label_smoothing    probability taken from the true label, in [0, 1)
    seed               of everything random, the split included
    time_budget        seconds of training at most; the best so far is kept
    calibration        "temperature" (default) or "none"
    conflicts          texts with different labels: "keep" (default), "majority", "drop", "refuse"
    element_type       how a tuned table is stored (default: as in the encoder)

    Linear heads:

    solver             "closed_form", "lbfgs" or "gradient"
    l2                 weight of the squared norm of the weights

    MLP heads:

    hidden_sizes       width of each hidden layer
    dropout            share of hidden units left out of each step

    Runs of tokens as features, which see the order of words:

    ngrams             True or False
    min_n, max_n       tokens of the shortest and of the longest run
    max_features       features at most
    min_count          texts that a run must be in to be one

    Gradient steps:

    max_epochs         passes over the data at most
    early_stopping     False: all of max_epochs
    patience           epochs without a gain before it stops
    min_delta          a gain that is smaller is none
    stop_metric        what must gain: "loss" (default), "accuracy" or "macro_f1"
    batch_size         examples a step
    learning_rate      of the head and of runs of tokens
    encoder_learning_rate  of what is tuned of the encoder
    weight_decay       decoupled

    Where a label begins to apply (multi-label), one of:

    threshold          the same for every label
    minimum_precision  the lowest with at least this precision
    minimum_recall     the highest with at least this recall

    When the classifier abstains, one of:

    abstention_threshold  confidence below which it does (0: never)
    target_accuracy    the lowest at which this share of the answers is right
    target_coverage    the highest at which this share of the texts is answered
    """

    multi_label: bool | None
    head: str | None
    tuning: str | None
    token_dropout: float | None
    encoding: EmbedOptions | None
    class_weights: str | Mapping[str, float] | None
    focal_gamma: float | None
    label_smoothing: float | None
    seed: int | None
    time_budget: float | None
    calibration: str | None
    conflicts: str | None
    element_type: str | None
    solver: str | None
    l2: float | None
    hidden_sizes: Iterable[int] | None
    dropout: float | None
    ngrams: bool | None
    min_n: int | None
    max_n: int | None
    max_features: int | None
    min_count: int | None
    max_epochs: int | None
    early_stopping: bool | None
    patience: int | None
    min_delta: float | None
    stop_metric: str | None
    batch_size: int | None
    learning_rate: float | None
    encoder_learning_rate: float | None
    weight_decay: float | None
    threshold: float | None
    minimum_precision: float | None
    minimum_recall: float | None
    abstention_threshold: float | None
    target_accuracy: float | None
    target_coverage: float | None


@dataclass(frozen=True)
class _Place:
    """Where an option goes: a path in ClassifierOptions, and the enum whose words it takes."""

    path: str
    enum: object = None


_PLACES = {
    "tuning": _Place("encoder_tuning.mode", pb.EncoderTuningMode),
    "token_dropout": _Place("encoder_tuning.token_dropout"),
    "focal_gamma": _Place("focal_gamma"),
    "label_smoothing": _Place("label_smoothing"),
    "seed": _Place("seed"),
    "time_budget": _Place("time_budget_seconds"),
    "calibration": _Place("calibration", pb.CalibrationMethod),
    "conflicts": _Place("conflicts", pb.ConflictPolicy),
    "element_type": _Place("element_type", common_pb2.ElementType),
    "solver": _Place("linear.solver", pb.LinearSolver),
    "l2": _Place("linear.l2"),
    "hidden_sizes": _Place("mlp.hidden_sizes"),
    "dropout": _Place("mlp.dropout"),
    "min_n": _Place("ngrams.min_n"),
    "max_n": _Place("ngrams.max_n"),
    "max_features": _Place("ngrams.max_features"),
    "min_count": _Place("ngrams.min_count"),
    "max_epochs": _Place("max_epochs"),
    "patience": _Place("early_stopping.patience"),
    "min_delta": _Place("early_stopping.min_delta"),
    "stop_metric": _Place("early_stopping.metric", pb.EarlyStoppingMetric),
    "batch_size": _Place("optimizer.batch_size"),
    "learning_rate": _Place("optimizer.head_learning_rate"),
    "encoder_learning_rate": _Place("optimizer.encoder_learning_rate"),
    "weight_decay": _Place("optimizer.weight_decay"),
    "threshold": _Place("thresholds.fixed"),
    "minimum_precision": _Place("thresholds.minimum_precision"),
    "minimum_recall": _Place("thresholds.minimum_recall"),
    "abstention_threshold": _Place("abstention.threshold"),
    "target_accuracy": _Place("abstention.target_accuracy"),
    "target_coverage": _Place("abstention.target_coverage"),
}
# Only one of each group may be given.
_EXCLUSIVE = (
    ("threshold", "minimum_precision", "minimum_recall"),
    ("abstention_threshold", "target_accuracy", "target_coverage"),
)
_HEADS = {"linear": ("solver", "l2"), "mlp": ("hidden_sizes", "dropout")}


def make(
    message: pb.ClassifierOptions | None, options: Mapping[str, Any]
) -> pb.ClassifierOptions | None:
    """The options as a message; None where everything is left to the server. ``message`` excludes
    ``options``. InvalidArgument names the option at fault."""
    given = known(options, TrainOptions.__annotations__)
    if message is not None:
        return _alone(message, given)
    if not given:
        return None
    for group in _EXCLUSIVE:
        _one_of([name for name in group if name in given])
    made = pb.ClassifierOptions()
    _head(made, given)
    _flags(made, given)
    _weigh(made, given.pop("class_weights", None))
    if "encoding" in given:
        made.encoding.CopyFrom(_encoding(given.pop("encoding")))
    for name, value in given.items():
        _set(made, name, value)
    return made


def _alone(message: Any, given: Mapping[str, Any]) -> pb.ClassifierOptions:
    if not isinstance(message, pb.ClassifierOptions):
        raise InvalidArgument(
            f"options is {type(message).__name__}, not a ClassifierOptions", field="options"
        )
    if given:
        raise InvalidArgument(
            f"{min(given)} goes without options; set it in the message you give",
            reason="OPTIONS_GIVEN_TWICE",
            field=min(given),
        )
    return message


def _one_of(given: list[str]) -> None:
    if len(given) > 1:
        raise InvalidArgument(
            f"{' and '.join(given)} exclude each other", reason="ONE_OF", field=given[1]
        )


def _head(made: pb.ClassifierOptions, given: dict[str, Any]) -> None:
    """Chooses the head by its name and by the options that only one has."""
    named = _word(given.pop("head", None), "head")
    if named is not None and named not in _HEADS:
        raise InvalidArgument(
            f"head is {named!r}; it must be one of {', '.join(_HEADS)}",
            reason="UNKNOWN_VALUE",
            field="head",
        )
    for name, own in _HEADS.items():
        used = [option for option in own if option in given]
        if used and named not in (None, name):
            raise InvalidArgument(
                f"a head that is {named} has no option {used[0]}", reason="ONE_OF", field=used[0]
            )
        if used:
            named = name
    if named is not None:
        getattr(made, named).SetInParent()


def _flags(made: pb.ClassifierOptions, given: dict[str, Any]) -> None:
    """Those that are True or False here and something else there."""
    for name in ("multi_label", "ngrams", "early_stopping"):
        if not isinstance(given.get(name, False), bool):
            raise InvalidArgument(f"{name} is True or False", reason="BAD_TYPE", field=name)
    if given.pop("multi_label", False):
        made.task = pb.CLASSIFICATION_TASK_MULTI_LABEL
    if "ngrams" in given:
        made.ngrams.mode = pb.NGRAM_MODE_ON if given.pop("ngrams") else pb.NGRAM_MODE_OFF
    if not given.pop("early_stopping", True):
        made.early_stopping.disabled = True


def _weigh(made: pb.ClassifierOptions, weights: Any) -> None:
    name = "class_weights"
    if isinstance(weights, Mapping):
        try:
            made.class_weights.values.update(weights)
        except (TypeError, ValueError) as error:
            raise _bad_type(name, weights, error) from None
        made.class_weights.SetInParent()
    elif weights is not None:
        made.class_weighting = enums.number(  # type: ignore[assignment]  # a number of the enum
            pb.ClassWeighting, _word(weights, name), name
        )


def _encoding(given: Any) -> Any:
    if not isinstance(given, Mapping):
        raise InvalidArgument(
            f"encoding is {type(given).__name__}; give a dict of options of embed",
            reason="BAD_TYPE",
            field="encoding",
        )
    try:
        return embed_options.make(given)
    except InvalidArgument as error:
        error.field = f"encoding.{error.field}"
        raise


def _set(made: pb.ClassifierOptions, name: str, value: Any) -> None:
    place = _PLACES[name]
    if place.enum is not None:
        value = enums.number(place.enum, _word(value, name), name)
    target: Any = made
    *parents, last = place.path.split(".")
    for parent in parents:
        target = getattr(target, parent)
        target.SetInParent()
    try:
        target.MergeFrom(build(type(target), **{last: value}))
    except InvalidArgument as error:
        raise _bad_type(name, value, error) from None


def _bad_type(name: str, value: Any, error: Exception) -> InvalidArgument:
    cause = str(error).rpartition(": ")[2]
    return InvalidArgument(
        f"{name} cannot be {value!r:.200}: {cause}", reason="BAD_TYPE", field=name
    )


def _word(value: Any, name: str) -> Any:
    """As the command line writes it, too: ``closed-form``."""
    if value is not None and not isinstance(value, str):
        raise InvalidArgument(
            f"{name} is {type(value).__name__}, not a word", reason="BAD_TYPE", field=name
        )
    return None if value is None else value.lower().replace("-", "_")
