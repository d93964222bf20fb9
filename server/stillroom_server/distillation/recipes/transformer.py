"""TRANSFORMER as steps of an operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillroom_server.distillation.recipes.job import Job, Made
from stillroom_server.distillation.transformer.options import TransformerOptions
from stillroom_server.distillation.transformer.recipe import distill_transformer
from stillroom_server.distillation.transformer.shape import check_options

_ELEMENT_BYTES = {"float32": 4, "float16": 2, "int8": 1}


def make(job: Job, options: TransformerOptions) -> Made:
    """Raises what ``check_options``, ``featurize`` and ``distill_transformer`` raise."""
    assert job.corpus is not None
    check_options(job.folder, options)  # before the teacher's vectors are paid for
    features = job.features()
    facts = distill_transformer(
        job.folder,
        job.output,
        job.corpus,
        features,
        job.checkpoints("training"),
        options,
        job.context,
        name=job.request.name,
        teacher_name=job.source.name,
        description=job.request.description or "",
        lineage=job.lineage,
    )
    # What is served, and what it would take otherwise.
    facts["student_bytes"] = facts.get("onnx_bytes", facts.get("student_bytes"))
    facts["seconds"] = {"featurize": round(features.seconds, 4), **facts.get("seconds", {})}
    return Made(
        "transformer",
        options.to_json(),
        facts,
        features,
        measuring={
            "same_space": options.dimensions is None,
            "quantizations": losses(facts),
            "teacher_speed": {"teacher_tokens_per_second": features.tokens_per_second},
            "seed": options.seed,
        },
    )


def losses(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The ``quantizations`` of a report, as far as the choice of a type measured them."""
    measured = {"float32": 1.0, **facts["cosines"]}
    return [
        {
            "element_type": element_type,
            "mean_cosine": cosine,
            "bytes": facts["parameters"] * _ELEMENT_BYTES[element_type],
        }
        for element_type, cosine in measured.items()
    ]
