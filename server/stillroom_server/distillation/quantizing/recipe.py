"""The quantize recipe: a student read, its rows stored in fewer bytes, the loss measured."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.distillation.context import Context, Silent
from stillroom_server.distillation.fidelity.samples import built_in_texts
from stillroom_server.distillation.quantizing.options import QuantizeOptions
from stillroom_server.distillation.recipe import PARITY_RUNS, verify_onnx
from stillroom_server.distillation.stopwatch import Stopwatch

PHASES = ("load", "quantize", "write", "verify")
_BITS = {"float32": 32, "float16": 16, "int8": 8}
# Written anew; everything else of a config.json stays.
_OURS = (
    *("model_type", "architectures", "hidden_dim", "normalize", "max_length", "embedding_dtype"),
    *("vocabulary_quantization", "prompts"),
)


class _Rows(NamedTuple):
    """(k, d) float32; with ``mapping`` and ``weights`` (vocabulary,) where tokens share rows."""

    table: NDArray[np.float32]
    mapping: NDArray[np.int64] | None = None
    weights: NDArray[np.float32] | None = None


def quantize_student(
    folder: Path,
    output: Path,
    options: QuantizeOptions,
    context: Context | None = None,
    *,
    name: str = "",
    source_name: str = "",
    description: str = "",
    lineage: Mapping[str, Any] | None = None,
    texts: Sequence[str] = (),
    verify: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Stores the static student in ``folder`` as ``options`` say, in ``output``, with its ONNX
    form, checked; returns the facts, a JSON object (element types, bytes, loss, parity, seconds).

    Normalization, longest text, prompts and what else its config.json holds stay. ``texts`` are
    those on which the loss is measured, without any a few hundred of our own. The same arguments
    give the same files to the last bit. Raises FailedPrecondition(NOTHING_TO_GAIN) for a student
    that would not get smaller, FailedPrecondition(UNSUPPORTED_STUDENT) for one that is not static,
    InvalidArgument (field under ``quantize.``), DataLoss for damaged files; what
    ``context.check_cancelled`` raises passes through.
    """
    from stillroom_server.distillation.export.student_folder import write_student
    from stillroom_server.distillation.quantizing import loss
    from stillroom_server.inference.student_files import StudentFiles

    context = context or Silent()
    watch = Stopwatch(clock)
    with watch.phase("load"):
        context.progress("load", 0, 1, unit="student")
        _refuse_transformer(folder)
        files = StudentFiles.load(folder)
        _refuse_growth(files, options)
        context.progress("load", 1, 1, unit="student")
    with watch.phase("quantize"):
        rows = _rows(files, options, context)
    with watch.phase("write"):
        context.progress("write", 0, 1, unit="student")
        context.check_cancelled()
        facts: dict[str, Any] = {
            "element_type": options.element_type,
            "source_element_type": str(files.table.dtype),
            "dimensions": files.dimensions,
            "vocabulary_size": files.vocabulary_size,
            "rows": len(rows.table),
            "source_bytes": (folder / "model.safetensors").stat().st_size,
        }
        kept = {key: value for key, value in files.config.items() if key not in _OURS}
        if files.prompts:
            kept["prompts"] = dict(files.prompts)
        with _fields_under("quantize"):
            write_student(
                output,
                table=rows.table,
                tokenizer_json=files.tokenizer_json,
                element_type=options.element_type,
                normalize=files.normalize,
                max_tokens=files.config.get("max_length", files.max_tokens),
                mapping=rows.mapping,
                weights=rows.weights,
                count_unknown=bool(files.config.get("count_unknown")),
                config_extra=kept,
                card={
                    "title": name,
                    "description": description
                    or f"{source_name or 'A static student'}, stored as {options.element_type}.",
                    **_card_of(folder),
                },
                lineage={"source": source_name, "recipe": "quantize", **(lineage or {})},
                options=options.to_json(),
                metrics=facts,
            )
        facts["student_bytes"] = (output / "model.safetensors").stat().st_size
        facts["size"] = round(facts["student_bytes"] / facts["source_bytes"], 4)
        context.progress("write", 1, 1, unit="student")
    with watch.phase("verify"):
        context.progress("verify", 0, PARITY_RUNS, unit="runs")
        facts["loss"] = loss.measure(
            folder, output, texts or built_in_texts(), context.check_cancelled
        )
        if verify:
            facts["onnx_parity"] = verify_onnx(output, options.seed, context)
    facts["seconds"] = watch.seconds
    return facts


def _rows(files: Any, options: QuantizeOptions, context: Context) -> _Rows:
    """What the table is to hold. A student whose tokens share rows already goes on sharing them."""

    def tell(done: int, total: int) -> None:
        context.progress("quantize", done, total, unit="steps")
        context.check_cancelled()

    tell(0, 1)
    if options.vocabulary_clusters:
        from stillroom_server.distillation.quantizing.clusters import cluster

        found = cluster(files.effective_table(), options.vocabulary_clusters, options.seed, tell)
        return _Rows(found.rows, found.mapping, found.weights)
    if files.mapping is not None:
        weights = files.weights
        if weights is None:
            weights = np.ones(files.vocabulary_size, dtype=np.float32)
        rows = _Rows(files.table.astype(np.float32), files.mapping, weights)
    else:
        rows = _Rows(files.effective_table())
    tell(1, 1)
    return rows


def _refuse_growth(files: Any, options: QuantizeOptions) -> None:
    stored, clusters = str(files.table.dtype), options.vocabulary_clusters
    if clusters >= len(files.table):
        raise InvalidArgument(
            f"vocabulary_clusters: {clusters} is not below the student's {len(files.table)} rows",
            field="quantize.vocabulary_clusters",
        )
    if not clusters and _BITS[options.element_type] >= _BITS[stored]:
        raise FailedPrecondition(
            f"the student is stored as {stored} already; {options.element_type} saves nothing",
            reason="NOTHING_TO_GAIN",
            field="quantize.element_type",
            metadata={"element_type": stored},
        )


def _refuse_transformer(folder: Path) -> None:
    """A student that is no table of rows, by what sentence-transformers is told of it."""
    path = folder / "modules.json"
    listed = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    if any(str(module.get("type", "")).endswith("Transformer") for module in listed):
        _unsupported()


def _unsupported() -> NoReturn:
    raise FailedPrecondition(
        "this recipe stores the rows of a static student; the one given is a transformer",
        reason="UNSUPPORTED_STUDENT",
        field="teacher",
    )


def _card_of(folder: Path) -> dict[str, Any]:
    """License and language of the source's own card, as far as it can be read."""
    from huggingface_hub import ModelCard

    try:
        data = ModelCard.load(folder / "README.md").data
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
    return {key: value for key in ("license", "language") if (value := data.get(key))}


@contextmanager
def _fields_under(path: str) -> Iterator[None]:
    """Puts ``path`` before the field of an option's error on its way out."""
    try:
        yield
    except InvalidArgument as error:
        if error.field == "element_type":
            error.field = f"{path}.{error.field}"
        raise
