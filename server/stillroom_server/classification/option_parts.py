"""The parts of a classifier's options: each reads itself from JSON and writes itself back.

None is what is left to the server. Names of enum values are those of the protocol without their
prefix, in lower case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from stillroom_server.classification.option_reader import OptionReader, enum_name
from stillroom_server.inference.options import MAX_PROMPT_CHARACTERS, EmbedOptions

Json: TypeAlias = dict[str, Any]

CLOSED_FORM, LBFGS, GRADIENT = SOLVERS = ("closed_form", "lbfgs", "gradient")
FROZEN, TOKEN_WEIGHTS, TABLE = TUNING_MODES = (
    *("frozen", "token_weights"),
    "table_and_token_weights",
)
LOSS, ACCURACY, MACRO_F1 = STOPPING_METRICS = ("loss", "accuracy", "macro_f1")
MOST_WIDTH = 8192
MOST_LAYERS = 8
LONGEST_RUN = 5
MOST_FEATURES = 1 << 24
MOST_CLOSED_FORM_FEATURES = 8192  # n-gram features; it solves for as many unknowns at once
_MOST_INT32 = (1 << 31) - 1
_DIRECTION = "TRUNCATION_DIRECTION"


@dataclass(frozen=True)
class LinearHead:
    """``l2`` is the weight of the squared norm of the weights in the mean loss."""

    solver: str | None = None
    l2: float | None = None

    @classmethod
    def read(cls, reader: OptionReader) -> LinearHead:
        head = cls(
            solver=reader.choice("solver", "LINEAR_SOLVER", SOLVERS), l2=reader.number("l2", 0.0)
        )
        reader.finish()
        return head

    def to_json(self) -> Json:
        solver = None if self.solver is None else enum_name("LINEAR_SOLVER", self.solver)
        return given(solver=solver, l2=self.l2)


@dataclass(frozen=True)
class MlpHead:
    """``hidden_sizes`` from the encoder's side; empty: one, of the server's choice."""

    hidden_sizes: tuple[int, ...] = ()
    dropout: float | None = None

    @classmethod
    def read(cls, reader: OptionReader) -> MlpHead:
        sizes = reader.value("hidden_sizes") or []
        if not isinstance(sizes, list | tuple) or len(sizes) > MOST_LAYERS:
            reader.refuse("hidden_sizes", f"it is no list of at most {MOST_LAYERS} widths")
        widths = OptionReader(
            {f"hidden_sizes[{at}]": size for at, size in enumerate(sizes)}, reader.path
        )
        read = [widths.integer(f"hidden_sizes[{at}]", 1, MOST_WIDTH) for at in range(len(sizes))]
        dropout = reader.number("dropout", 0.0, 1.0, without_high=True)
        reader.finish()
        return cls(tuple(size for size in read if size is not None), dropout)

    def to_json(self) -> Json:
        return given(hidden_sizes=list(self.hidden_sizes) or None, dropout=self.dropout)


@dataclass(frozen=True)
class EncoderTuning:
    """``token_dropout``: share of a text's tokens left out of each training step."""

    mode: str | None = None
    token_dropout: float | None = None

    @classmethod
    def read(cls, reader: OptionReader) -> EncoderTuning:
        tuning = cls(
            mode=reader.choice("mode", "ENCODER_TUNING_MODE", TUNING_MODES),
            token_dropout=reader.number("token_dropout", 0.0, 1.0, without_high=True),
        )
        reader.finish()
        return tuning

    def to_json(self) -> Json:
        mode = None if self.mode is None else enum_name("ENCODER_TUNING_MODE", self.mode)
        return given(mode=mode, token_dropout=self.token_dropout)


@dataclass(frozen=True)
class NgramOptions:
    """``on`` None: where the validation data gain by it. The numbers: None is the server's choice,
    ``min_count`` counts training texts."""

    on: bool | None = None
    min_n: int | None = None
    max_n: int | None = None
    max_features: int | None = None
    min_count: int | None = None

    @classmethod
    def read(cls, reader: OptionReader) -> NgramOptions:
        mode = reader.choice("mode", "NGRAM_MODE", ("off", "on"))
        options = cls(
            on=None if mode is None else mode == "on",
            min_n=reader.integer("min_n", 0, LONGEST_RUN) or None,
            max_n=reader.integer("max_n", 0, LONGEST_RUN) or None,
            max_features=reader.integer("max_features", 0, MOST_FEATURES) or None,
            min_count=reader.integer("min_count", 0, _MOST_INT32) or None,
        )
        reader.finish()
        if mode == "off":
            for name in ("min_n", "max_n", "max_features", "min_count"):
                if getattr(options, name) is not None:
                    reader.refuse(name, "there are no n-grams with NGRAM_MODE_OFF")
            return options
        if options.min_n is None:
            options = cls(options.on, 2, options.max_n, options.max_features, options.min_count)
        if options.max_n is not None and (options.min_n or 2) > options.max_n:
            reader.refuse("min_n", f"{options.min_n} is more than max_n, which is {options.max_n}")
        return options

    def to_json(self) -> Json:
        if self.on is False:
            return {"mode": "NGRAM_MODE_OFF"}
        return given(
            mode=None if self.on is None else "NGRAM_MODE_ON",
            min_n=self.min_n,
            max_n=self.max_n,
            max_features=self.max_features,
            min_count=self.min_count,
        )


@dataclass(frozen=True)
class EarlyStopping:
    disabled: bool = False
    patience: int | None = None
    min_delta: float | None = None
    metric: str = LOSS

    @classmethod
    def read(cls, reader: OptionReader) -> EarlyStopping:
        metric = reader.choice("metric", "EARLY_STOPPING_METRIC", STOPPING_METRICS)
        stopping = cls(
            disabled=reader.boolean("disabled") or False,
            patience=reader.integer("patience", 0, _MOST_INT32) or None,
            min_delta=reader.number("min_delta", 0.0),
            metric=metric or LOSS,
        )
        reader.finish()
        return stopping

    def to_json(self) -> Json:
        return given(
            disabled=self.disabled or None,
            patience=self.patience,
            min_delta=self.min_delta,
            metric=enum_name("EARLY_STOPPING_METRIC", self.metric),
        )


@dataclass(frozen=True)
class OptimizerOptions:
    """Learning rates of AdamW, and its decoupled decay."""

    batch_size: int | None = None
    head_learning_rate: float | None = None
    encoder_learning_rate: float | None = None
    weight_decay: float | None = None

    @classmethod
    def read(cls, reader: OptionReader) -> OptimizerOptions:
        optimizer = cls(
            batch_size=reader.integer("batch_size", 0, 65_536) or None,
            head_learning_rate=reader.number("head_learning_rate", 0.0, 10.0) or None,
            encoder_learning_rate=reader.number("encoder_learning_rate", 0.0, 10.0) or None,
            weight_decay=reader.number("weight_decay", 0.0),
        )
        reader.finish()
        return optimizer

    def to_json(self) -> Json:
        return given(
            batch_size=self.batch_size,
            head_learning_rate=self.head_learning_rate,
            encoder_learning_rate=self.encoder_learning_rate,
            weight_decay=self.weight_decay,
        )


@dataclass(frozen=True)
class Rule:
    """By which a threshold is chosen: one of the names that its message has, and a number."""

    name: str
    value: float

    @classmethod
    def read_threshold(cls, reader: OptionReader) -> Rule | None:
        """Of ThresholdOptions. None: the best F1."""
        name = reader.one_of("fixed", "minimum_precision", "minimum_recall")
        if name is None:
            reader.finish()
            return None
        value = reader.number(name, 0.0, 1.0, without_low=True, without_high=name == "fixed")
        reader.finish()
        return None if value is None else cls(name, value)

    @classmethod
    def read_abstention(cls, reader: OptionReader) -> Rule | None:
        """Of AbstentionOptions. None: at most half the errors."""
        name = reader.one_of("threshold", "target_accuracy", "target_coverage")
        if name is None:
            reader.finish()
            return None
        value = reader.number(name, 0.0, 1.0, without_low=name != "threshold")
        reader.finish()
        return None if value is None else cls(name, value)

    def to_json(self) -> Json:
        return {self.name: self.value}


def read_encoding(reader: OptionReader) -> EmbedOptions:
    """EmbedOptions without an element type, which only answered vectors have."""
    if reader.choice("element_type", "ELEMENT_TYPE", ("float32", "float16", "int8", "binary")):
        reader.refuse("element_type", "a head reads vectors of float32; leave it unset")
    direction = reader.choice("truncation_direction", _DIRECTION, ("left", "right"))
    reader.one_of("prompt", "prompt_name")
    prompt = reader.text("prompt")
    if prompt is not None and len(prompt) > MAX_PROMPT_CHARACTERS:
        reader.refuse("prompt", f"it has more than {MAX_PROMPT_CHARACTERS} characters")
    truncate = reader.boolean("truncate")
    options = EmbedOptions(
        truncate=truncate is not False,
        truncate_left=direction == "left",
        max_tokens=reader.integer("max_tokens", 0, _MOST_INT32) or None,
        normalize=reader.boolean("normalize"),
        dimensions=reader.integer("dimensions", 0, _MOST_INT32) or None,
        prompt=prompt,
        prompt_name=reader.text("prompt_name"),
    )
    reader.finish()
    return options


def encoding_json(options: EmbedOptions) -> Json:
    return given(
        truncate=options.truncate,
        truncation_direction=enum_name(_DIRECTION, "left" if options.truncate_left else "right"),
        max_tokens=options.max_tokens,
        normalize=options.normalize,
        dimensions=options.dimensions,
        prompt=options.prompt,
        prompt_name=options.prompt_name,
    )


def given(**values: Any) -> Json:
    """Those that are set."""
    return {name: value for name, value in values.items() if value is not None}
