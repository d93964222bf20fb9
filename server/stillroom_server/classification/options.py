"""What can be chosen about a classifier, refused before any text is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.option_parts import (
    CLOSED_FORM,
    FROZEN,
    LBFGS,
    MOST_CLOSED_FORM_FEATURES,
    EarlyStopping,
    EncoderTuning,
    Json,
    LinearHead,
    MlpHead,
    NgramOptions,
    OptimizerOptions,
    Rule,
    encoding_json,
    given,
    read_encoding,
)
from stillroom_server.classification.option_reader import OptionReader, enum_name
from stillroom_server.inference.options import EmbedOptions

Head: TypeAlias = LinearHead | MlpHead

SINGLE_LABEL, MULTI_LABEL = TASKS = ("single_label", "multi_label")
STATIC, TRANSFORMER, TEACHER = ENCODER_KINDS = ("static", "transformer", "teacher")
BALANCED = "balanced"
CONFLICTS = ("keep", "majority", "drop", "refuse")
_ELEMENTS = ("float32", "float16", "int8", "binary")
_MOST_EPOCHS = 10_000


@dataclass(frozen=True)
class ClassifierOptions:
    """The ClassifierOptions of the protocol; None is what is left to the server.

    ``head`` tells linear from hidden layers; ``class_weights`` are by label and replace
    ``class_weighting``. ``thresholds`` None: the best F1 of each label; ``abstention`` None: at
    most half the errors. Make it with ``from_json``.
    """

    task: str = SINGLE_LABEL
    head: Head | None = None
    tuning: EncoderTuning = field(default_factory=EncoderTuning)
    ngrams: NgramOptions = field(default_factory=NgramOptions)
    encoding: EmbedOptions = field(default_factory=EmbedOptions)
    class_weighting: str = "none"
    class_weights: Mapping[str, float] | None = None
    focal_gamma: float = 0.0
    label_smoothing: float | None = None
    max_epochs: int | None = None
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)
    time_budget_seconds: float | None = None
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    seed: int = 0
    calibration: str = "temperature"
    thresholds: Rule | None = None
    abstention: Rule | None = None
    conflicts: str = "keep"
    element_type: str | None = None
    path: str = field(default="options", compare=False)

    @classmethod
    def from_json(cls, value: object, *, path: str = "options") -> ClassifierOptions:
        """From the JSON of the message. Raises InvalidArgument, whose field begins with ``path``,
        for values out of range and options that contradict each other."""
        reader = OptionReader({} if value is None else value, path)
        options = cls(
            task=reader.choice("task", "CLASSIFICATION_TASK", TASKS) or SINGLE_LABEL,
            head=_read_head(reader),
            tuning=_tuning(reader),
            ngrams=_ngrams(reader),
            encoding=read_encoding(reader.inner("encoding") or OptionReader({}, path)),
            class_weighting=_read_weighting(reader),
            class_weights=_read_weights(reader),
            focal_gamma=reader.number("focal_gamma", 0.0, 10.0) or 0.0,
            label_smoothing=reader.number("label_smoothing", 0.0, 1.0, without_high=True),
            max_epochs=reader.integer("max_epochs", 0, _MOST_EPOCHS) or None,
            early_stopping=_early_stopping(reader),
            time_budget_seconds=reader.number("time_budget_seconds", 0.0) or None,
            optimizer=_optimizer(reader),
            seed=reader.integer("seed", 0, 2**64 - 1) or 0,
            calibration=reader.choice("calibration", "CALIBRATION_METHOD", ("none", "temperature"))
            or "temperature",
            thresholds=_thresholds(reader),
            abstention=_abstention(reader),
            conflicts=reader.choice("conflicts", "CONFLICT_POLICY", CONFLICTS) or "keep",
            element_type=reader.choice("element_type", "ELEMENT_TYPE", _ELEMENTS),
            path=path,
        )
        reader.finish()
        options._check(reader)
        return options

    @property
    def multi_label(self) -> bool:
        return self.task == MULTI_LABEL

    @property
    def solver(self) -> str | None:
        """That of a linear head; None where it is open, or the head has hidden layers."""
        return self.head.solver if isinstance(self.head, LinearHead) else None

    @property
    def tunes(self) -> bool:
        """Whether some of the encoder is asked to be trained."""
        return self.tuning.mode not in (None, FROZEN)

    def check_encoder(self, kind: str) -> None:
        """Raises InvalidArgument for what an encoder of ``kind`` (static, transformer, teacher)
        cannot do."""
        if kind == STATIC:
            return
        if self.tunes:
            self._refuse("encoder_tuning.mode", "only static students have a table to tune")
        if self.ngrams.on:
            self._refuse("ngrams.mode", "only static students have n-gram features")

    def check_labels(self, labels: Sequence[str]) -> None:
        """Raises InvalidArgument for a weight of a label that the training data do not have."""
        known = set(labels)
        for label in self.class_weights or {}:
            if label not in known:
                self._refuse(f"class_weights.values.{label}", "the data have no such label")

    def to_json(self) -> Json:
        """The JSON of the message; what is None is left out."""
        linear = isinstance(self.head, LinearHead)
        weights = self.class_weights
        return given(
            task=enum_name("CLASSIFICATION_TASK", self.task),
            linear=self.head.to_json() if self.head is not None and linear else None,
            mlp=self.head.to_json() if self.head is not None and not linear else None,
            encoder_tuning=self.tuning.to_json() or None,
            ngrams=self.ngrams.to_json() or None,
            encoding=encoding_json(self.encoding),
            class_weighting=(
                enum_name("CLASS_WEIGHTING", self.class_weighting) if weights is None else None
            ),
            class_weights=None if weights is None else {"values": dict(weights)},
            focal_gamma=self.focal_gamma,
            label_smoothing=self.label_smoothing,
            max_epochs=self.max_epochs,
            early_stopping=self.early_stopping.to_json(),
            time_budget_seconds=self.time_budget_seconds,
            optimizer=self.optimizer.to_json() or None,
            seed=str(self.seed),
            calibration=enum_name("CALIBRATION_METHOD", self.calibration),
            thresholds=None if self.thresholds is None else self.thresholds.to_json(),
            abstention=None if self.abstention is None else self.abstention.to_json(),
            conflicts=enum_name("CONFLICT_POLICY", self.conflicts),
            element_type=(
                None if self.element_type is None else enum_name("ELEMENT_TYPE", self.element_type)
            ),
        )

    def _check(self, reader: OptionReader) -> None:
        if self.solver in (CLOSED_FORM, LBFGS):
            if self.focal_gamma > 0.0:
                reader.refuse("focal_gamma", "it needs the solver LINEAR_SOLVER_GRADIENT")
            if (self.label_smoothing or 0.0) > 0.0:
                reader.refuse("label_smoothing", "it needs the solver LINEAR_SOLVER_GRADIENT")
            if self.tunes:
                reader.refuse("linear.solver", "the encoder is tuned, which this solver cannot")
        most = self.ngrams.max_features or 0
        if self.solver == CLOSED_FORM and most > MOST_CLOSED_FORM_FEATURES:
            reader.refuse(
                "ngrams.max_features",
                f"a closed form solves for at most {MOST_CLOSED_FORM_FEATURES:,} at once",
            )
        if self.early_stopping.disabled and self.max_epochs is None:
            reader.refuse("early_stopping.disabled", "max_epochs must then say when to stop")
        if self.thresholds is not None and not self.multi_label:
            reader.refuse("thresholds", "only multi-label classifiers have thresholds")
        if self.element_type == "binary":
            reader.refuse("element_type", "a table cannot be stored as signs")

    def _refuse(self, name: str, why: str) -> NoReturn:
        field = f"{self.path}.{name}"
        raise InvalidArgument(f"{field}: {why}", field=field)


def _read_head(reader: OptionReader) -> Head | None:
    chosen = reader.one_of("linear", "mlp")
    inner = None if chosen is None else reader.inner(chosen)
    if inner is None:
        return None
    return LinearHead.read(inner) if chosen == "linear" else MlpHead.read(inner)


def _tuning(reader: OptionReader) -> EncoderTuning:
    inner = reader.inner("encoder_tuning")
    return EncoderTuning() if inner is None else EncoderTuning.read(inner)


def _ngrams(reader: OptionReader) -> NgramOptions:
    inner = reader.inner("ngrams")
    return NgramOptions() if inner is None else NgramOptions.read(inner)


def _early_stopping(reader: OptionReader) -> EarlyStopping:
    inner = reader.inner("early_stopping")
    return EarlyStopping() if inner is None else EarlyStopping.read(inner)


def _optimizer(reader: OptionReader) -> OptimizerOptions:
    inner = reader.inner("optimizer")
    return OptimizerOptions() if inner is None else OptimizerOptions.read(inner)


def _thresholds(reader: OptionReader) -> Rule | None:
    """An empty message asks for the default, which single-label has none of either."""
    inner = reader.inner("thresholds")
    return None if inner is None else Rule.read_threshold(inner)


def _abstention(reader: OptionReader) -> Rule | None:
    inner = reader.inner("abstention")
    return None if inner is None else Rule.read_abstention(inner)


def _read_weighting(reader: OptionReader) -> str:
    reader.one_of("class_weighting", "class_weights")
    return reader.choice("class_weighting", "CLASS_WEIGHTING", ("none", BALANCED)) or "none"


def _read_weights(reader: OptionReader) -> Mapping[str, float] | None:
    inner = reader.inner("class_weights")
    if inner is None:
        return None
    values = inner.value("values") or {}
    inner.finish()
    weights = OptionReader(values, f"{inner.path}.values")
    read = {str(label): weights.number(label, 0.0, without_low=True) for label in values}
    return {label: weight for label, weight in read.items() if weight is not None}
