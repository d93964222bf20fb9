"""TRANSFORMER as steps of an operation."""

from __future__ import annotations

from stillroom_server.distillation.recipes.job import Job, Made
from stillroom_server.distillation.transformer.options import TransformerOptions
from stillroom_server.distillation.transformer.recipe import distill_transformer
from stillroom_server.distillation.transformer.shape import check_options


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
    facts["seconds"] = {"featurize": round(features.seconds, 4), **facts.get("seconds", {})}
    return Made(
        "transformer",
        options.to_json(),
        facts,
        features,
        measuring={
            "same_space": options.dimensions is None,
            "quantizations": facts.pop("quantizations", ()),
            "teacher_speed": {"teacher_tokens_per_second": features.tokens_per_second},
            "seed": options.seed,
        },
    )
