"""QUANTIZE as a step of an operation: the student is measured against the one it was made from."""

from __future__ import annotations

from stillroom_server.distillation.quantizing.options import QuantizeOptions
from stillroom_server.distillation.quantizing.recipe import quantize_student
from stillroom_server.distillation.recipes.job import Job, Made
from stillroom_server.inference.embedders import load_embedder


def make(job: Job, options: QuantizeOptions) -> Made:
    """Raises what ``quantize_student`` raises."""
    facts = quantize_student(
        job.folder,
        job.output,
        options,
        job.context,
        name=job.request.name,
        source_name=job.source.name,
        description=job.request.description or "",
        lineage={"source_digest": job.source.digest},
    )
    source = load_embedder(job.folder, cache=job.verdicts)
    return Made(
        "quantize",
        options.to_json(),
        facts,
        measuring={"same_space": True, "seed": options.seed},
        encode_teacher=lambda texts: source.embed(texts).vectors,
    )
