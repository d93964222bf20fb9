"""STATIC_TUNED as steps of an operation: features, the fit, then files as of any student."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.export.student_folder import write_student
from stillroom_server.distillation.options import StaticOptions, fields_under
from stillroom_server.distillation.recipe import verify_onnx
from stillroom_server.distillation.recipes.composed import with_composed
from stillroom_server.distillation.recipes.job import Job, Made
from stillroom_server.distillation.recipes.rows import kept_rows
from stillroom_server.distillation.stopwatch import Stopwatch
from stillroom_server.distillation.teacher import Teacher, TeacherFiles
from stillroom_server.distillation.teacher_tokenizer import load_tokenizer
from stillroom_server.distillation.tuning.options import TunedOptions
from stillroom_server.distillation.tuning.tune import tune
from stillroom_server.distillation.vocabulary import StudentVocabulary, build_vocabulary


def make(
    job: Job, options: TunedOptions, *, clock: Callable[[], float] = time.perf_counter
) -> Made:
    """Raises what ``featurize``, ``tune``, ``write_student`` and ``verify`` raise; options of the
    start have fields under ``static_tuned.static``."""
    context, watch = job.context, Stopwatch(clock)
    assert job.corpus is not None
    static = options.static
    with watch.phase("featurize"), fields_under("static_tuned.static"):
        vocabulary = _vocabulary(job, static)
        seed, folder = job.request.seed, job.workspace / "composed"
        corpus = with_composed(job.corpus, vocabulary, seed, folder, context)
        # Its own shards come first, so these are the features of the job's corpus, too.
        features = replace(job, corpus=corpus).features(static.prompt_name)
    with watch.phase("load"), fields_under("static_tuned.static"):
        context.progress("load", 0, 1, unit="teacher")
        context.check_cancelled()
        # A final Normalize is for sentences: a token's length is what it weighs in their mean.
        teacher = Teacher.load(
            job.folder, job.device, job.dtype, pooling=static.pooling, normalize=False
        )
        prompt = teacher.files.prompt(static.prompt_name)
        context.progress("load", 1, 1, unit="teacher")

    def rows() -> NDArray[np.float32]:
        with watch.phase("encode"):
            return kept_rows(job, static)(teacher, vocabulary, prompt, context)

    with watch.phase("tune"):
        tuned = tune(
            vocabulary,
            rows,
            corpus,
            features,
            options,
            job.checkpoints("tuning"),
            context,
            job.workspace / "tuning",
            composed=len(corpus.training) - len(job.corpus.training),
        )
    count, dimensions = map(int, tuned.table.shape)
    facts: dict[str, Any] = {
        "vocabulary_size": count,
        "dimensions": dimensions,
        "element_type": static.element_type,
        "teacher_dimensions": teacher.dim,
        "teacher_bytes": teacher.files.transformer.size,
        "compute_type": teacher.dtype,
        "device": teacher.device,
        "explained_variance": tuned.facts.get("explained_variance"),
        "training": _training(tuned.facts),
    }
    with watch.phase("write"):
        context.progress("write", 0, 1, unit="student")
        context.check_cancelled()
        write_student(
            job.output,
            table=tuned.table,
            tokenizer_json=tuned.tokenizer_json,
            element_type=static.element_type,
            normalize=static.normalize,
            max_tokens=static.max_tokens,
            config_extra={"tokenizer_name": job.source.name, "apply_pca": dimensions},
            card={
                "title": job.request.name,
                "description": job.request.description,
                "base_model": job.source.name,
            },
            lineage={"teacher": job.source.name, "recipe": "static_tuned", **job.lineage},
            options=options.to_json(),
        )
        facts["student_bytes"] = (job.output / "model.safetensors").stat().st_size
        context.progress("write", 1, 1, unit="student")
    with watch.phase("verify"):
        facts["onnx_parity"] = verify_onnx(job.output, static.seed, context)
    facts["seconds"] = watch.seconds
    return Made(
        "static_tuned",
        options.to_json(),
        facts,
        features,
        measuring={
            "static": job.output,
            "table": tuned.table,
            "teacher_speed": {"teacher_tokens_per_second": features.tokens_per_second},
            "seed": static.seed,
        },
    )


def _vocabulary(job: Job, static: StaticOptions) -> StudentVocabulary:
    """The student's before it grows."""
    transformer = TeacherFiles.read(job.folder).transformer
    return build_vocabulary(
        load_tokenizer(transformer.folder, transformer.config).source,
        add=static.add_words,
        remove=static.remove_tokens,
        remove_pattern=static.remove_pattern,
    )


def _training(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What tuning tells of itself, under the names that reports have for every recipe."""
    renamed = {"grown_words": "words_added", "grown_pairs": "pairs_added"}
    an_epoch = facts["steps"] // max(1, facts["epochs"])
    history = [
        {
            "step": row["epoch"] * an_epoch,
            "epoch": row["epoch"],
            "loss": row["training_loss"],
            "held_out_loss": row["held_out_loss"],
        }
        for row in facts["history"]
    ]
    best = min(history, key=lambda row: row["held_out_loss"])
    stopped = {"patience": "no better", "budget": "time budget"}
    return {
        **{renamed.get(key, key): value for key, value in facts.items()},
        "history": history,
        "best_step": best["step"],
        "stopped": stopped.get(facts["stopped"], facts["stopped"]),
    }
