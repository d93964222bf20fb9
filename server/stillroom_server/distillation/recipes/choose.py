"""Which recipe makes the student: the one asked for, or what the corpus allows.

What keeps a budget was chosen before the operation was made: its request then names the recipe.
"""

from __future__ import annotations

from dataclasses import dataclass

from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.quantizing.options import QuantizeOptions
from stillroom_server.distillation.recipes.auto import AutoOptions
from stillroom_server.distillation.recipes.candidates import candidates
from stillroom_server.distillation.recipes.job import Job, Made
from stillroom_server.distillation.recipes.request import Options
from stillroom_server.distillation.transformer.options import TransformerOptions
from stillroom_server.distillation.tuning.options import TunedOptions


@dataclass(frozen=True)
class Choice:
    """``recipe`` as requests name it, with its options."""

    recipe: str
    options: Options

    def make(self, job: Job) -> Made:
        """The student, in the job's output folder."""
        # Each brings libraries that the others can do without.
        match self.options:
            case StaticOptions():
                from stillroom_server.distillation.recipes import static

                return static.make(job, self.options)
            case TunedOptions():
                from stillroom_server.distillation.recipes import tuned

                return tuned.make(job, self.options)
            case TransformerOptions():
                from stillroom_server.distillation.recipes import transformer

                return transformer.make(job, self.options)
            case QuantizeOptions():
                from stillroom_server.distillation.recipes import quantize

                return quantize.make(job, self.options)
        raise AssertionError("auto has been decided")


def choose(job: Job) -> Choice:
    """The recipe of ``job``; the same in every attempt, as the corpus is."""
    asked = job.request.options
    if isinstance(asked, AutoOptions):
        texts = 0 if job.corpus is None else int(job.corpus.facts["texts"])
        return Choice(*next(candidates(asked, texts)))
    return Choice(job.request.recipe, asked)
