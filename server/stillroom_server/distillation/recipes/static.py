"""STATIC as a step of an operation."""

from __future__ import annotations

from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.recipe import distill_static
from stillroom_server.distillation.recipes.job import Job, Made
from stillroom_server.distillation.recipes.rows import kept_rows


def make(job: Job, options: StaticOptions) -> Made:
    """Raises what ``distill_static`` raises."""
    found: list[bool] = []
    report = distill_static(
        job.folder,
        job.output,
        options,
        job.context,
        name=job.request.name,
        teacher_name=job.source.name,
        description=job.request.description or "",
        lineage=job.lineage,
        device=job.device,
        dtype=job.dtype,
        encode=kept_rows(job, options, lambda: found.append(True)),
    )
    # Rows that were found say nothing of the teacher's speed.
    tokens = report.pop("teacher_tokens_per_second")
    speed = {"teacher_tokens_per_second": None if found else tokens}
    return Made(
        "static",
        options.to_json(),
        report,
        measuring={"static": job.output, "teacher_speed": speed, "seed": options.seed},
    )
