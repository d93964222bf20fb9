"""Work to estimate: each kind with all that its estimate needs, looked up and checked.

Requests of other RPCs come as the JSON bodies that their operations are queued with; everything
else is read here from the JSON of its message. Fields of errors begin with the ``field`` given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from stillroom_server.cost.assumptions import Given, Source
from stillroom_server.cost.facts import DataFacts, ModelFacts
from stillroom_server.cost.reading import count, number, refuse

Json: TypeAlias = Mapping[str, Any]

DEFAULT_TOKENS = 16.0  # of a short sentence, as in docs/performance.md
DEFAULT_REQUEST_TEXTS = 256
DEFAULT_DURATION = 30 * 86_400.0
DEFAULT_PEAK = 3.0
DEFAULT_SEQUENCE = Given(128, Source.DEFAULT)
DEFAULT_BATCH = Given(32, Source.DEFAULT)
ELEMENT_TYPES = ("float32", "float16", "int8")
_ELEMENT = "ELEMENT_TYPE_"


@dataclass(frozen=True)
class ImportWork:
    """A model fetched, verified, converted and published. ``origin``: where from; ``model``: what
    it is, None where nobody has looked; ``total_bytes`` and ``files`` of the source, None where
    they are not known."""

    origin: Literal["hub", "path", "upload"]
    total_bytes: int | None = None
    files: int | None = None
    model: ModelFacts | None = None
    name: str = ""

    @property
    def kind(self) -> str:
        return "import"


@dataclass(frozen=True)
class DistillWork:
    """``body`` as rpc/distillation queues it. ``teacher``: the model that is distilled, of the
    recipe ``quantize`` a student; None where it is imported first from where nobody can look.
    ``imported``: that import. ``data`` of the corpus."""

    body: Json
    teacher: ModelFacts | None
    data: DataFacts = field(default_factory=DataFacts)
    imported: ImportWork | None = None

    @property
    def kind(self) -> str:
        return "distill"


@dataclass(frozen=True)
class TrainWork:
    """``body`` as rpc/classifier_operations queues it. ``data`` of the labeled texts,
    ``validation`` those of validation data of their own."""

    body: Json
    encoder: ModelFacts
    data: DataFacts = field(default_factory=DataFacts)
    validation: DataFacts | None = None

    @property
    def kind(self) -> str:
        return "train_classifier"


@dataclass(frozen=True)
class EmbedWork:
    """``texts`` embedded or classified once, ``texts_per_request`` a request. ``options``: the
    EmbedOptions that are set."""

    model: ModelFacts
    texts: int
    tokens_per_text: Given
    texts_per_request: int = DEFAULT_REQUEST_TEXTS
    options: Json = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "classify" if self.model.kind == "classifier" else "embed"

    @classmethod
    def from_json(
        cls,
        value: Json,
        model: ModelFacts,
        data: DataFacts,
        *,
        max_texts: int,
        field: str = "workload.embed",
    ) -> EmbedWork:
        """An EmbedWorkload. Raises InvalidArgument."""
        texts = count(value, "texts", field, least=1)
        options = _options(value, model, field)
        return cls(
            model,
            texts,
            _tokens(value, data, field),
            _request_texts(value, field, max_texts, DEFAULT_REQUEST_TEXTS),
            options,
        )


@dataclass(frozen=True)
class ServeWork:
    """A rate of texts, ``texts_per_second`` on average and ``peak`` at most, for ``duration``
    seconds."""

    model: ModelFacts
    texts_per_second: float
    peak: Given
    duration: Given
    tokens_per_text: Given
    texts_per_request: int = 1
    options: Json = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "serve"

    @classmethod
    def from_json(
        cls,
        value: Json,
        model: ModelFacts,
        data: DataFacts,
        *,
        max_texts: int,
        field: str = "workload.serve",
    ) -> ServeWork:
        """A ServeWorkload. Raises InvalidArgument."""
        rate = number(value, "texts_per_second", field, above=True)
        if rate is None:
            refuse(f"{field}.texts_per_second", "say how many texts a second")
        peak = number(value, "peak_texts_per_second", field) or 0.0
        if 0.0 < peak < rate:
            refuse(f"{field}.peak_texts_per_second", f"{peak:g} is below the average, {rate:g}")
        duration = number(value, "duration_seconds", field) or 0.0
        most = (
            Given(peak, Source.REQUEST)
            if peak
            else Given(DEFAULT_PEAK * rate, Source.DEFAULT, "three times the average")
        )
        return cls(
            model,
            rate,
            most,
            Given(duration, Source.REQUEST)
            if duration
            else Given(DEFAULT_DURATION, Source.DEFAULT, "30 days"),
            _tokens(value, data, field),
            _request_texts(value, field, max_texts, 1),
            _options(value, model, field),
        )


@dataclass(frozen=True)
class TransferWork:
    """Files to or from the Hub. ``total_bytes`` and ``files`` None: not known. ``model``: what is
    transferred, None where nobody has looked."""

    direction: Literal["push", "pull"]
    total_bytes: int | None = None
    files: int | None = None
    model: ModelFacts | None = None
    repo: str = ""

    @property
    def kind(self) -> str:
        return self.direction


@dataclass(frozen=True)
class ParadigmWork:
    """Training in a paradigm. ``paradigm`` is one of ``cost.tables``. ``model`` None: only the
    table answers. ``teacher``: that of a distillation."""

    paradigm: Any
    model: ModelFacts | None = None
    teacher: ModelFacts | None = None
    tokens: int = 0
    epochs: int = 1
    sequence_length: Given = DEFAULT_SEQUENCE
    batch_size: Given = DEFAULT_BATCH
    element_type: str = "float32"

    @property
    def kind(self) -> str:
        return "paradigm"

    @classmethod
    def from_json(
        cls,
        value: Json,
        paradigm: Any,
        model: ModelFacts | None,
        teacher: ModelFacts | None = None,
        *,
        field: str = "workload.paradigm",
    ) -> ParadigmWork:
        """A ParadigmWorkload whose paradigm and models have been read. Raises InvalidArgument."""
        tokens = count(value, "tokens", field, least=0 if model is None else 1)
        length = count(value, "sequence_length", field)
        limit = 0 if model is None else model.max_tokens
        if limit and length > limit:
            refuse(f"{field}.sequence_length", f"{length:,} is above the model's limit, {limit:,}")
        batch = count(value, "batch_size", field)
        shorter = DEFAULT_SEQUENCE
        if limit and limit < shorter.value:
            shorter = Given(limit, Source.MODEL, "the longest text that the model reads")
        return cls(
            paradigm,
            model,
            teacher,
            tokens,
            count(value, "epochs", field) or 1,
            Given(length, Source.REQUEST) if length else shorter,
            Given(batch, Source.REQUEST) if batch else DEFAULT_BATCH,
            element_type(value.get("element_type"), f"{field}.element_type"),
        )


Work: TypeAlias = (
    DistillWork | TrainWork | EmbedWork | ServeWork | TransferWork | ImportWork | ParadigmWork
)


def element_type(value: Any, field: str, default: str = "float32") -> str:
    """The name in lower case of a type that numbers can be computed in. Raises InvalidArgument."""
    if value in (None, "", f"{_ELEMENT}UNSPECIFIED"):
        return default
    name = str(value).removeprefix(_ELEMENT).lower()
    if name not in ELEMENT_TYPES:
        refuse(field, f"{value} is none of {', '.join(ELEMENT_TYPES)}")
    return name


def tokens_of(data: DataFacts, asked: float | None = None) -> Given:
    """Tokens of a text: as asked, else of the data, else an assumption."""
    if asked:
        return Given(asked, Source.REQUEST)
    if data.tokens_per_text is not None:
        return data.tokens_per_text
    return Given(DEFAULT_TOKENS, Source.DEFAULT, "short sentences; nobody said what texts are like")


def _tokens(value: Json, data: DataFacts, field: str) -> Given:
    return tokens_of(data, number(value, "tokens_per_text", field))


def _request_texts(value: Json, field: str, most: int, default: int) -> int:
    asked = count(value, "texts_per_request", field)
    if asked > most:
        refuse(f"{field}.texts_per_request", f"{asked:,} is above the server's limit, {most:,}")
    return asked or min(default, most)


def _options(value: Json, model: ModelFacts, field: str) -> Json:
    options = value.get("options")
    if options is not None and model.kind == "classifier":
        refuse(f"{field}.options", "a classifier embeds in its own way; leave them unset")
    return options or {}
