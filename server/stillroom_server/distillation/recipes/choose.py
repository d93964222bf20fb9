"""Which recipe makes the student: the one asked for, or what the corpus and the budget allow.

What was chosen is written down in the operation's workspace, as a probe of another moment might
choose otherwise and an attempt after a kill must go on with the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from stillroom_server.distillation.corpus.shards import write_whole
from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.quantizing.options import QuantizeOptions
from stillroom_server.distillation.recipes import outlook
from stillroom_server.distillation.recipes.auto import AutoOptions
from stillroom_server.distillation.recipes.budget import Outlook, refuse
from stillroom_server.distillation.recipes.job import Job, Made
from stillroom_server.distillation.recipes.request import Options, read_recipe
from stillroom_server.distillation.transformer.options import TransformerOptions
from stillroom_server.distillation.transformer.shape import check_options
from stillroom_server.distillation.tuning.options import TunedOptions
from stillroom_server.distillation.tuning.tune import FEWEST_TEXTS

_FILE = "choice.json"
_SMALLER = (256, 128, 64, 32)  # dimensions of int8 students, for a budget of bytes


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


def choose(job: Job, probe: Callable[[Job], outlook.Probe] = outlook.probe) -> Choice:
    """Raises FailedPrecondition (BUDGET_EXCEEDED) when nothing fits the request's budget."""
    candidates = list(_candidates(job))
    if job.request.budget.unlimited:
        return candidates[0]
    path = job.workspace / _FILE
    if path.exists():
        return Choice(*read_recipe(json.loads(path.read_text(encoding="utf-8"))))
    choice = _fitting(job, candidates, probe)
    body = {choice.recipe: choice.options.to_json()}
    write_whole(path, json.dumps(body).encode())
    return choice


def _candidates(job: Job) -> Iterator[Choice]:
    """What may be made, the best first."""
    asked = job.request.options
    if not isinstance(asked, AutoOptions):
        yield Choice(job.request.recipe, asked)
        return
    start = StaticOptions(seed=asked.seed)
    yield from _both(job, start)
    if job.request.budget.result_bytes is not None:
        for dimensions in _SMALLER:
            yield from _both(job, replace(start, element_type="int8", dimensions=dimensions))


def _both(job: Job, start: StaticOptions) -> Iterator[Choice]:
    if _texts(job) >= FEWEST_TEXTS:
        yield Choice("static_tuned", TunedOptions(start))
    yield Choice("static", start)


def _fitting(job: Job, candidates: list[Choice], probe: Callable[[Job], outlook.Probe]) -> Choice:
    budget = job.request.budget
    found = None if job.request.recipe == "quantize" else probe(job)
    tried: dict[str, Outlook] = {}
    for choice in candidates:
        if found is not None and len(candidates) > 1 and _too_wide(choice, found.dim):
            continue
        whole, least = _outlooks(job, choice, found)
        if not least.beyond(budget):
            return _limited(job, choice, whole)
        tried[choice.recipe] = least
    raise refuse(tried, budget)


def _outlooks(job: Job, choice: Choice, found: outlook.Probe | None) -> tuple[Outlook, Outlook]:
    """In full, and as little as makes sense."""
    texts = _texts(job)
    match choice.options:
        case QuantizeOptions():
            only = outlook.quantized(job.folder / "model.safetensors", choice.options)
        case StaticOptions() if found is not None:
            only = outlook.static(found, choice.options)
        case TransformerOptions() if found is not None:
            shape = check_options(job.folder, choice.options)
            layers = len(shape.layers), shape.teacher_layers
            only = outlook.transformer(found, choice.options, texts, layers)
        case TunedOptions() if found is not None:
            of = partial(outlook.tuned, found, choice.options, texts)
            return of(), of(whole=False)
        case _:
            raise AssertionError("auto has been decided")
    return only, only


def _too_wide(choice: Choice, most: int) -> bool:
    options = choice.options
    asked = options.static if isinstance(options, TunedOptions) else options
    return (
        isinstance(asked, StaticOptions)
        and isinstance(asked.dimensions, int)
        and (asked.dimensions > most)
    )


def _limited(job: Job, choice: Choice, whole: Outlook) -> Choice:
    """The same with a limit to its training, where all of it would take too long."""
    options, seconds = choice.options, job.request.budget.seconds
    if seconds is None or whole.seconds <= seconds or not isinstance(options, TunedOptions):
        return choice
    left = seconds - (whole.seconds - outlook.training_seconds(options, _texts(job)))
    return replace(choice, options=replace(options, time_budget_seconds=left))


def _texts(job: Job) -> int:
    return 0 if job.corpus is None else int(job.corpus.facts["texts"])
