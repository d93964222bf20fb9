"""QUANTIZE as a step of an operation: the student is measured against the one it was made from."""

from __future__ import annotations

from typing import Any

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.quantizing.options import QuantizeOptions
from stillroom_server.distillation.recipes.job import Job, Made
from stillroom_server.distillation.recipes.transformer import losses
from stillroom_server.inference.embedders import load_embedder
from stillroom_server.inference.transformer.files import is_transformer_student


def make(job: Job, options: QuantizeOptions) -> Made:
    """Raises what ``quantize_student`` and ``store_student`` raise, and InvalidArgument for
    clusters of a student that has no rows to cluster."""
    transformer = is_transformer_student(job.folder)
    facts = _transformer(job, options) if transformer else _static(job, options)
    source = load_embedder(job.folder, cache=job.verdicts)
    return Made(
        "quantize",
        options.to_json(),
        facts,
        measuring={
            "same_space": True,
            "static": None if transformer else job.output,
            "quantizations": losses(facts) if transformer else (),
            "seed": options.seed,
        },
        encode_teacher=lambda texts: source.embed(texts).vectors,
    )


def _static(job: Job, options: QuantizeOptions) -> dict[str, Any]:
    from stillroom_server.distillation.quantizing.recipe import quantize_student

    return quantize_student(job.folder, job.output, options, job.context, **_told(job))


def _transformer(job: Job, options: QuantizeOptions) -> dict[str, Any]:
    from stillroom_server.distillation.transformer.restoring import store_student

    if options.vocabulary_clusters:
        raise InvalidArgument(
            f"{job.source.name} is a transformer; only the rows of static students are clustered",
            field="quantize.vocabulary_clusters",
        )
    return store_student(job.folder, job.output, options.element_type, job.context, **_told(job))


def _told(job: Job) -> dict[str, Any]:
    """What both write down about the student."""
    return {
        "name": job.request.name,
        "source_name": job.source.name,
        "description": job.request.description or "",
        "lineage": {"source_digest": job.source.digest},
    }
