"""What models and data are like, as far as an estimate asks.

Read from configurations and headers of weight files alone, never from the weights.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from stillroom_registry.registry import ModelKind, ModelVersion, Registry
from stillroom_server.cost.assumptions import Given
from stillroom_server.cost.model_files import ModelFiles
from stillroom_server.cost.reading import count, refuse
from stillroom_server.inference.classifier.encoder_name import encoder_of

FactsKind: TypeAlias = Literal["teacher", "student", "classifier", "shape"]
Architecture: TypeAlias = Literal["table", "transformer"]

_KEPT = 512  # facts of versions, which never change
_kept: OrderedDict[str, ModelFacts] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model's shape and size.

    ``name`` is the full name of a version, empty where there is none; ``digest`` that of its files.
    ``architecture``: rows of a table that are averaged (``layers`` 0), or a transformer. ``hidden``
    and ``intermediate``: widths of its layers; ``heads`` 0: unknown. ``rows`` of the token table;
    ``vocabulary``: rows that a static student of this teacher has by default; ``unused``: those
    that are left out for being reserved. ``max_tokens`` of a text, 0: no limit. ``parameters`` in
    all, ``multiplied`` those that every token is multiplied with: all but tables that are looked up
    in. ``weight_bytes``: what is loaded to compute; ``total_bytes`` of all ``files``.
    ``dimensions`` of its vectors. ``labels`` of a classifier, and ``encoder``: the facts of the
    teacher that it is asked with, where its own files hold only the head. ``assumed``: names of
    fields that nobody stated and that follow from others.
    """

    kind: FactsKind
    architecture: Architecture
    layers: int
    hidden: int
    intermediate: int
    rows: int
    parameters: int
    multiplied: int
    weight_bytes: int
    dimensions: int
    heads: int = 0
    max_tokens: int = 0
    vocabulary: int = 0
    unused: int = 0
    total_bytes: int = 0
    files: int = 0
    element_type: str = "float32"
    labels: int = 0
    encoder: ModelFacts | None = None
    assumed: tuple[str, ...] = ()
    name: str = ""
    digest: str = ""

    @property
    def is_table(self) -> bool:
        return self.architecture == "table"

    @property
    def computing(self) -> ModelFacts:
        """The model that turns texts into vectors: itself, or the teacher of a classifier."""
        return self.encoder or self

    def read_tokens(self, tokens: float) -> float:
        """How many of a text's ``tokens`` it reads."""
        return min(tokens, self.max_tokens) if self.max_tokens else tokens

    def flops(self, tokens: float, length: float) -> float:
        """Operations of a forward pass over ``tokens`` tokens in texts of ``length`` each:
        2 P T + 4 L s h T, of which the latter is attention (Kaplan et al. 2020, section 2.1). For a
        table an addition for each element of each token's row."""
        if self.is_table:
            return tokens * self.hidden
        return tokens * (2.0 * self.multiplied + 4.0 * self.layers * length * self.hidden)


def of_version(registry: Registry, version: ModelVersion) -> ModelFacts:
    """The facts of a registered version. Raises DataLoss for damaged files, FailedPrecondition for
    a configuration that states no sizes."""
    with _lock:
        found = _kept.get(version.digest)
        if found is not None:
            _kept.move_to_end(version.digest)
    if found is None:
        files = ModelFiles.of_version(registry, version)
        found = _facts(files, version.kind, version.metadata)
        if version.kind is ModelKind.CLASSIFIER and (teacher := files.head().teacher):
            encoder = registry.resolve(encoder_of(version, teacher))
            found = replace(found, encoder=of_version(registry, encoder))
        with _lock:
            _kept[version.digest] = found
            while len(_kept) > _KEPT:
                _kept.popitem(last=False)
    return replace(found, name=version.name, digest=version.digest)


def of_folder(folder: Path, kind: ModelKind) -> ModelFacts:
    """The facts of a model that is not registered yet. Raises as ``of_version``."""
    return _facts(ModelFiles.of_folder(folder), kind, {})


def of_shape(value: Mapping[str, Any], field: str) -> ModelFacts:
    """Of a ModelShape in JSON. Raises InvalidArgument on its fields, under ``field``."""
    layers = count(value, "layers", field)
    hidden = count(value, "hidden_size", field, least=1)
    inner = count(value, "intermediate_size", field)
    rows = count(value, "vocabulary_size", field, least=1)
    max_tokens = count(value, "max_tokens", field)
    stated = count(value, "parameters", field)
    assumed = []
    if not inner and layers:
        inner = 4 * hidden
        assumed.append("intermediate_size")
    table = rows * hidden
    if stated and stated < table:
        refuse(f"{field}.parameters", f"{stated:,} are fewer than the {table:,} of the table")
    blocks = layers_of(layers, hidden, inner)
    positions = max_tokens * hidden if layers else 0
    if not stated:
        assumed.append("parameters")
    total = stated or table + positions + blocks
    multiplied = max(0, total - table - positions) if layers else 0
    return ModelFacts(
        kind="shape",
        architecture="transformer" if layers else "table",
        layers=layers,
        hidden=hidden,
        intermediate=inner,
        rows=rows,
        vocabulary=rows,
        parameters=total,
        multiplied=multiplied,
        weight_bytes=4 * total,
        total_bytes=4 * total,
        dimensions=hidden,
        max_tokens=max_tokens,
        assumed=tuple(assumed),
    )


def layers_of(layers: int, hidden: int, inner: int) -> int:
    """Parameters of so many transformer layers: four square projections, two of the feed-forward
    part, with their biases and two normalizations."""
    return layers * (4 * hidden * (hidden + 1) + 2 * hidden * inner + inner + hidden + 4 * hidden)


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What the data are like; None is not known. ``total_bytes`` of all of it, ``labels`` of
    labeled texts. ``sampled``: only a part was looked at, and the numbers are from that."""

    texts: Given | None = None
    tokens_per_text: Given | None = None
    total_bytes: Given | None = None
    labels: Given | None = None
    sampled: bool = False


def _facts(files: ModelFiles, kind: ModelKind, metadata: Mapping[str, Any]) -> ModelFacts:
    match kind:
        case ModelKind.TEACHER:
            return _transformer(files, "teacher", metadata)
        case ModelKind.STUDENT:
            return _student(files, "student", metadata)
        case ModelKind.CLASSIFIER:
            return _classifier(files, metadata)


def _student(files: ModelFiles, kind: FactsKind, metadata: Mapping[str, Any]) -> ModelFacts:
    if files.is_transformer:
        found = _transformer(files, kind, metadata)
        served = files.size_under("onnx/")
        return replace(found, weight_bytes=served or found.weight_bytes)
    table = files.table()
    return ModelFacts(
        kind=kind,
        architecture="table",
        layers=0,
        hidden=table.columns,
        intermediate=0,
        rows=table.rows,
        vocabulary=table.tokens,
        parameters=table.elements,
        multiplied=0,
        weight_bytes=table.size,
        dimensions=table.columns,
        max_tokens=files.table_max_tokens(),
        element_type=table.element_type,
        total_bytes=files.total_bytes,
        files=files.count,
    )


def _transformer(files: ModelFiles, kind: FactsKind, metadata: Mapping[str, Any]) -> ModelFacts:
    shape = files.transformer()
    stated = metadata.get("max_tokens")
    vocabulary, unused = files.vocabulary() if kind == "teacher" else (shape.rows, 0)
    return ModelFacts(
        kind=kind,
        architecture="transformer",
        layers=shape.layers,
        hidden=shape.hidden,
        intermediate=shape.intermediate,
        heads=shape.heads,
        rows=shape.rows,
        vocabulary=vocabulary or shape.rows,
        unused=unused,
        parameters=shape.parameters,
        multiplied=shape.multiplied,
        weight_bytes=shape.size,
        dimensions=shape.dimensions,
        max_tokens=stated if type(stated) is int and stated > 0 else shape.max_tokens,
        element_type=shape.element_type,
        total_bytes=files.total_bytes,
        files=files.count,
    )


def _classifier(files: ModelFiles, metadata: Mapping[str, Any]) -> ModelFacts:
    head = files.head()
    if head.teacher:  # whose facts are added by who can resolve its name
        return ModelFacts(
            kind="classifier",
            architecture="table",
            layers=0,
            hidden=head.dimensions,
            intermediate=0,
            rows=0,
            parameters=head.elements,
            multiplied=head.elements,
            weight_bytes=head.size,
            dimensions=head.dimensions,
            labels=head.labels,
            total_bytes=files.total_bytes,
            files=files.count,
        )
    found = _student(files, "classifier", metadata)
    return replace(found, labels=head.labels, weight_bytes=found.weight_bytes + head.size)
