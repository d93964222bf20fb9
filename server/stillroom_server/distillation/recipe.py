"""The static recipe: every token of a vocabulary through its teacher, PCA, weights by rank."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation import static
from stillroom_server.distillation.context import Context, Silent
from stillroom_server.distillation.options import StaticOptions, fields_under
from stillroom_server.distillation.rows import EncodeRows, encode_rows
from stillroom_server.distillation.stopwatch import Stopwatch
from stillroom_server.distillation.teacher import Teacher
from stillroom_server.distillation.vocabulary import StudentVocabulary, build_vocabulary

PHASES = ("load", "encode", "reduce", "write", "verify")
PARITY_RUNS = 200


def distill_static(
    teacher_folder: Path,
    output_folder: Path,
    options: StaticOptions | None = None,
    context: Context | None = None,
    *,
    name: str = "",
    teacher_name: str = "",
    description: str = "",
    lineage: Mapping[str, Any] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    verify: bool = True,
    encode: EncodeRows = encode_rows,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Distills the teacher in ``teacher_folder`` to a student in ``output_folder``, with its ONNX
    form, checked; returns the report, a JSON object (vocabulary_size, dimensions, bytes, variance,
    parity, seconds by phase...).

    The same teacher, options, device and element type give the same files to the last bit.
    ``verify=False`` leaves out the ONNX file and its check; ``encode`` computes the rows, or knows
    them. Raises InvalidArgument with
    the option's field (under ``static.``), FailedPrecondition, DataLoss; what
    ``context.check_cancelled`` raises passes through.
    """
    options = options or StaticOptions()
    context = context or Silent()
    watch = Stopwatch(clock)
    with fields_under("static"):
        with watch.phase("load"):
            context.progress("load", 0, 1, unit="teacher")
            # A final Normalize is for sentences: a token's length is what it weighs in their mean.
            # Measured on MiniLM, unit tokens lose 0.6 to 1.6 points on each year of STS.
            teacher = Teacher.load(
                teacher_folder, device, dtype, pooling=options.pooling, normalize=False
            )
            asked = options.dimensions_of(teacher.dim)
            prompt = teacher.files.prompt(options.prompt_name)
            vocabulary = build_vocabulary(
                teacher.tokenizer_json,
                add=options.add_words,
                remove=options.remove_tokens,
                remove_pattern=options.remove_pattern,
            )
            facts = _teacher_facts(teacher)
            context.progress("load", 1, 1, unit="teacher")
        with watch.phase("encode"):
            vectors = encode(teacher, vocabulary, prompt, context)
        del teacher
        with watch.phase("reduce"):
            context.progress("reduce", 0, 1, unit="table")
            context.check_cancelled()
            table, explained = _reduce(vectors, asked, options.sif_coefficient)
            table[list(vocabulary.silent)] = 0.0
            context.progress("reduce", 1, 1, unit="table")
    rows, dimensions = map(int, table.shape)
    report: dict[str, Any] = {
        "vocabulary_size": rows,
        "dimensions": dimensions,
        "element_type": options.element_type,
        "explained_variance": round(explained, 6),
        **facts,
    }
    with watch.phase("write"):
        context.progress("write", 0, 1, unit="student")
        context.check_cancelled()
        _write(
            output_folder,
            table,
            vocabulary,
            options,
            report,
            name=name,
            teacher_name=teacher_name,
            description=description,
            lineage=lineage,
        )
        report["student_bytes"] = (output_folder / "model.safetensors").stat().st_size
        context.progress("write", 1, 1, unit="student")
    if verify:
        with watch.phase("verify"):
            report["onnx_parity"] = verify_onnx(output_folder, options.seed, context)
    speed = rows / watch.seconds["encode"] if watch.seconds["encode"] else 0.0
    report["teacher_tokens_per_second"] = round(speed, 1)
    report["seconds"] = watch.seconds
    return report


def _teacher_facts(teacher: Teacher) -> dict[str, Any]:
    return {
        "teacher_dimensions": teacher.dim,
        "teacher_bytes": teacher.files.transformer.size,
        "pooling": list(teacher.files.modules.pooling),
        "compute_type": teacher.dtype,
        "device": teacher.device,
    }


def _reduce(
    vectors: NDArray[np.float32], asked: int | float | None, coefficient: float | None
) -> tuple[NDArray[np.float32], float]:
    """The weighted table (rows, d) and the share of the variance it explains."""
    explained = 1.0
    heard: NDArray[np.bool_] = np.any(vectors != 0.0, axis=1)
    if asked is None:
        table = vectors
    else:
        mean = static.mean_of(vectors)
        axes, variances = static.principal_axes(vectors, mean, static.rank_importance(len(vectors)))
        kept = asked if isinstance(asked, int) else static.dimensions_for(variances, asked)
        table = static.temper(static.project(vectors, mean, axes[:, :kept]))
        total = float(variances.sum())
        explained = float(variances[:kept].sum()) / total if total > 0.0 else 1.0
    if coefficient is not None:
        weights = static.sif_weights(len(table), coefficient)
        table = table * weights[:, None].astype(np.float32)
    # A row of zeros says nothing, and centering must not make it say minus the mean.
    return table * heard[:, None], explained


def _write(
    folder: Path,
    table: NDArray[np.float32],
    vocabulary: StudentVocabulary,
    options: StaticOptions,
    report: Mapping[str, Any],
    *,
    name: str,
    teacher_name: str,
    description: str,
    lineage: Mapping[str, Any] | None,
) -> None:
    from stillroom_server.distillation.export.student_folder import write_student

    write_student(
        folder,
        table=table,
        tokenizer_json=vocabulary.tokenizer_json,
        element_type=options.element_type,
        normalize=options.normalize,
        max_tokens=options.max_tokens,
        config_extra={
            "tokenizer_name": teacher_name,
            "apply_pca": None if options.dimensions is None else int(table.shape[1]),
            "sif_coefficient": options.sif_coefficient,
            "pooling": "+".join(report["pooling"]),
        },
        card={
            "title": name,
            "description": description,
            "base_model": teacher_name,
            "metrics": {"Explained variance": report["explained_variance"]},
        },
        lineage={"teacher": teacher_name, "recipe": "static", **(lineage or {})},
        options=options.to_json(),
        metrics=report,
    )


def verify_onnx(folder: Path, seed: int, context: Context) -> dict[str, Any]:
    """Adds the ONNX form to a student's folder, and proves it; the parity report. Raises
    FailedPrecondition (PARITY_FAILED)."""
    from stillroom_server.distillation.export.onnx_graph import export_onnx
    from stillroom_server.distillation.export.parity import check

    def tell(run: int) -> None:
        context.progress("verify", run, PARITY_RUNS, unit="runs")
        context.check_cancelled()

    tell(0)
    export_onnx(folder)
    return check(folder, seed=seed, runs=PARITY_RUNS, on_run=tell).as_dict()
