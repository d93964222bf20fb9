"""A distillation: the phases of its recipe, as ``distillation.executor`` reports them."""

from __future__ import annotations

from stillroom_server.cost.assumptions import Omission
from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.physical import (
    distill_options,
    distill_quantize,
    distill_static,
    distill_steps,
    distill_transformer,
    distill_tuned,
    embedding,
    transfer,
)
from stillroom_server.cost.physical.built import Built, Outcome
from stillroom_server.cost.physical.distill_options import Asked
from stillroom_server.cost.physical.phase import Phase
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.physical.recipe import Made
from stillroom_server.cost.tables.paradigms import Distillation
from stillroom_server.cost.workloads import DEFAULT_TOKENS, DistillWork
from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.quantizing.options import QuantizeOptions
from stillroom_server.distillation.transformer.options import TransformerOptions
from stillroom_server.distillation.tuning.options import TunedOptions

_NO_TEACHER = "what the teacher is like is known once it is imported"


def build(work: DistillWork, place: Place) -> Built:
    """Raises InvalidArgument for options that the teacher cannot meet."""
    asked = distill_options.read(work)
    before = () if work.imported is None else transfer.imported(place, work.imported).phases
    if before:
        # All of it is one phase of the distillation.
        before = (transfer.as_one(before),)
    if asked.corpus is not None:
        before = (*before, distill_steps.corpus(place, asked.corpus))
    if work.teacher is None:
        return _unknown(asked, before)
    made = _made(asked, work.teacher, place)
    tokens = asked.corpus.tokens if asked.corpus is not None else DEFAULT_TOKENS
    return Built(
        title=made.title,
        phases=(*before, *made.phases),
        outcome=Outcome(
            made.result,
            made.quality,
            embedding.latency(place, made.student, tokens),
            embedding.rate(place, made.student, tokens, 256),
        ),
        assumptions=(*asked.assumptions, *made.assumptions),
        omissions=_omissions(asked),
        paradigm=Distillation(),
        reason="a small model is taught by a large one",
        against_table=made.against_table,
        notes={"quality_retention": "the table's is of any student of any teacher"},
    )


def _made(asked: Asked, teacher: ModelFacts, place: Place) -> Made:
    match asked.options:
        case StaticOptions():
            return distill_static.make(asked.options, teacher, place, asked.corpus)
        case TunedOptions():
            return distill_tuned.make(asked.options, teacher, place, asked.corpus)
        case TransformerOptions():
            return distill_transformer.make(asked.options, teacher, place, asked.corpus)
        case QuantizeOptions():
            return distill_quantize.make(asked.options, teacher, place)
    raise AssertionError("auto has been decided")


def _omissions(asked: Asked) -> tuple[Omission, ...]:
    if not asked.evaluations:
        return ()
    reason = f"{asked.evaluations} evaluations are read and measured; nobody has looked at them"
    return (Omission("evaluations", reason, "report"),)


def _unknown(asked: Asked, before: tuple[Phase, ...]) -> Built:
    unknown = Figure.unknown(_NO_TEACHER)
    rest = Phase(
        "load",
        "teacher",
        unknown,
        unknown,
        flops=unknown,
        traffic=unknown,
        memory=unknown,
        disk=unknown,
    )
    return Built(
        title=asked.recipe.upper(),
        phases=(*before, rest),
        outcome=Outcome(unknown, unknown, unknown, unknown),
        assumptions=asked.assumptions,
        omissions=_omissions(asked),
        paradigm=Distillation(),
        reason="a small model is taught by a large one",
    )
