"""Training in a paradigm, from a model's shape: operations by 2 P T, memory by what is trained.

Forward passes count as in ``ModelFacts.flops``; a step is forward and twice that backward, of which
the half that makes gradients of weights is left out for weights that stay (Kaplan et al. 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

from stillroom_registry.errors import InvalidArgument
from stillroom_server.cost.assumptions import Assumption, Omission, Source
from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Basis, Figure
from stillroom_server.cost.physical import memory
from stillroom_server.cost.physical.built import Built, Outcome
from stillroom_server.cost.physical.phase import Phase, counted
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.physical.sizes import ELEMENT_BYTES
from stillroom_server.cost.tables import methods
from stillroom_server.cost.tables.paradigms import (
    Distillation,
    Ensemble,
    FineTuning,
    Moe,
    Paradigm,
    TraditionalMl,
)
from stillroom_server.cost.workloads import ParadigmWork

_ADAPTER_SHARE = 1.0 / 8.0  # of the hidden size, as Houlsby et al. 2019 (arXiv:1902.00751) had it
_PREFIX_TOKENS = 20.0  # before each layer (Li and Liang 2021, arXiv:2101.00190: 5 to 200)
_SPREAD = 0.95
_APART = (0.5, 1.6)  # of activations: frameworks keep more, or compute some anew
_NOT_HERE = "this server distills students and trains classifiers; it does not train in this way"
_QUALITY = "the table's rule of thumb: phases say nothing of quality"


@dataclass(frozen=True)
class Training:
    """``base`` parameters that are held, of ``base_bytes`` each, ``multiplied`` those that each
    token meets, ``extra`` ones beside them that are trained too; ``trained`` in all; ``frozen``:
    whether the base stays as it is; ``copies`` that are trained one after the other."""

    base: float
    multiplied: float
    base_bytes: float
    extra: float
    trained: float
    frozen: bool
    copies: float = 1.0

    def flops(self, forward: float, extra: float) -> float:
        """Of training on what takes ``forward`` operations in one pass, and ``extra`` in what is
        beside the base."""
        return self.copies * ((2.0 if self.frozen else 3.0) * forward + 3.0 * extra)


def build(work: ParadigmWork, place: Place) -> Built:
    """Raises InvalidArgument (field ``paradigm.fine_tuning``...) for a rank above the width."""
    paradigm, model = work.paradigm, work.model
    told = tuple(_assumption(each) for each in paradigm.assumptions())
    quality = Figure.exact(paradigm.rules.quality_retention.value, Basis.TABLE, _QUALITY)
    if model is None:
        unknown = Figure.unknown("no model is given")
        return Built(
            title=paradigm.display_name,
            phases=(),
            outcome=Outcome(unknown, quality, unknown, unknown),
            assumptions=told,
            paradigm=paradigm,
            not_runnable=_NOT_HERE,
        )
    element = ELEMENT_BYTES[work.element_type]
    training = _training(paradigm, model, element)
    length, batch = work.sequence_length.value, work.batch_size.value
    tokens = float(work.tokens) * work.epochs
    forward = _forward(model, training, tokens, length)
    extra = 2.0 * training.extra * tokens
    flops = training.flops(forward, extra)
    activations = element * memory.kept_activations(
        model.layers, model.hidden, model.intermediate, model.heads or 12, batch, length
    )
    if model.is_table:
        activations = 4.0 * batch * length * model.hidden
    held = training.base * training.base_bytes + training.extra * element
    held += training.trained * (element + 8.0) + activations
    taught, omissions = _teacher(work, place, paradigm)
    steps = -(-work.tokens // max(1, round(batch * length))) * work.epochs
    traffic = (
        steps
        * training.copies
        * (3.0 * training.base * training.base_bytes + 20.0 * training.trained)
        + 6.0 * activations * steps
    )
    cpu, device = _seconds(place, counted(flops), counted(traffic))
    phase = Phase(
        "train",
        "tokens",
        counted(tokens),
        cpu,
        flops=counted(flops),
        traffic=counted(traffic),
        spread=_SPREAD,
        device=device,
        memory=memory.held(place, 0.0, held).times(_unsure()),
        disk=counted(training.copies * (training.base + training.extra) * element),
        limited_by=_limit(place, flops, traffic),
    )
    result = training.copies * (training.base + training.extra) * element
    return Built(
        title=f"{paradigm.display_name}, {tokens:,.0f} tokens",
        phases=(*taught, phase),
        outcome=Outcome(
            counted(result),
            quality,
            *_answers(place, model, training, length),
        ),
        assumptions=(
            *told,
            *_assumed(work, model),
            Assumption("optimizer", "Adam, 8 bytes a trained parameter", Source.DEFAULT),
        ),
        omissions=(*omissions, *_left_out(paradigm)),
        paradigm=paradigm,
        against_table=_compared(
            paradigm, model, training, held, forward, extra, element, batch, length
        ),
        notes=_NOTES,
        not_runnable=_NOT_HERE,
    )


_NOTES = {
    "training_speedup": "operations of the same tokens; fine-tuning also needs fewer of them",
    "memory_multiplier": "weights, gradients, optimizer and activations over weights and the"
    " activations of one text",
    "memory_reduction_factor": "the same batch on both sides",
}


def _training(paradigm: Paradigm, model: ModelFacts, element: float) -> Training:
    base, multiplied = float(model.parameters), float(model.multiplied)
    match paradigm:
        case FineTuning(method):
            return _tuned(method, model, element)
        case Moe():
            # What all share is everything but the feed-forward layers.
            inner = float(model.layers) * 2.0 * model.hidden * model.intermediate
            whole = base + inner * (paradigm.count - 1)
            met = multiplied + inner * (paradigm.active - 1)
            return Training(whole, met, element, 0.0, whole, frozen=False)
        case Ensemble():
            return Training(
                base, multiplied, element, 0.0, base, frozen=False, copies=float(paradigm.count)
            )
        case TraditionalMl():
            # A linear model on the vectors of one that stays as it is.
            extra = float(model.dimensions) * max(2, model.labels)
            return Training(base, multiplied, element, extra, extra, frozen=True)
    return Training(base, multiplied, element, 0.0, base, frozen=False)


def _tuned(method: methods.Method, model: ModelFacts, element: float) -> Training:
    base, multiplied = float(model.parameters), float(model.multiplied)
    layers, hidden, inner = float(model.layers), float(model.hidden), float(model.intermediate)
    match method:
        case methods.Lora(rank=rank) | methods.Qlora(rank=rank):
            if rank > model.hidden:
                field = f"paradigm.fine_tuning.{method.name}.rank"
                raise InvalidArgument(
                    f"{field}: {rank} is above the model's hidden size, {model.hidden}",
                    reason="OUT_OF_RANGE",
                    field=field,
                )
            extra = layers * rank * (4.0 * 2.0 * hidden + 2.0 * (hidden + inner))
            size = method.bits / 8.0 if isinstance(method, methods.Qlora) else element
            return Training(base, multiplied, min(size, 4.0), extra, extra, frozen=True)
        case methods.Adapter():
            extra = layers * 2.0 * 2.0 * hidden * max(1.0, hidden * _ADAPTER_SHARE)
        case methods.Prefix():
            extra = layers * 2.0 * _PREFIX_TOKENS * hidden
        case methods.Ia3():
            extra = layers * (2.0 * hidden + inner)
        case _:
            return Training(base, multiplied, element, 0.0, base, frozen=False)
    return Training(base, multiplied, element, extra, extra, frozen=True)


def _forward(model: ModelFacts, training: Training, tokens: float, length: float) -> float:
    if model.is_table:
        return tokens * model.hidden
    attention = 4.0 * model.layers * length * model.hidden
    return tokens * (2.0 * training.multiplied + attention)


def _seconds(place: Place, flops: Figure, traffic: Figure) -> tuple[Figure, Figure]:
    """(core seconds, seconds of an accelerator)."""
    if place.accelerator is not None:
        return counted(0.0), place.accelerator.seconds(flops, traffic)
    gflops = (flops.p50 or 0.0) / 1e9
    arithmetic = place.speeds.seconds("matmul", gflops).times(
        Figure.around(1.5, 0.67, 1.6, Basis.SPEC)
    )
    return arithmetic.largest(place.speeds.seconds("memory", traffic.p50 or 0.0)), counted(0.0)


def _limit(place: Place, flops: float, traffic: float) -> str:
    if place.accelerator is not None:
        found = place.accelerator
        if found.flops is None or found.bandwidth is None:
            return ""
        computing = flops / found.flops >= traffic / found.bandwidth
    else:
        arithmetic = place.speeds.seconds("matmul", flops / 1e9).p50 or 0.0
        computing = arithmetic >= (place.speeds.seconds("memory", traffic).p50 or 0.0)
    return "arithmetic" if computing else "memory bandwidth"


def _teacher(
    work: ParadigmWork, place: Place, paradigm: Paradigm
) -> tuple[tuple[Phase, ...], tuple[Omission, ...]]:
    if not isinstance(paradigm, Distillation):
        return (), ()
    teacher = work.teacher
    if teacher is None:
        return (), (Omission("teacher", "none is named, so what it takes is not counted"),)
    flops = teacher.flops(float(work.tokens), work.sequence_length.value)
    moved = 4.0 * teacher.parameters * max(1.0, work.tokens / place.batch_tokens)
    cpu, device = _seconds(place, counted(flops), counted(moved))
    held = ELEMENT_BYTES[work.element_type] * teacher.parameters
    return (
        Phase(
            "teach",
            "tokens",
            counted(float(work.tokens)),
            cpu,
            flops=counted(flops),
            traffic=counted(moved),
            spread=_SPREAD,
            device=device,
            memory=memory.held(place, 0.0, held),
            limited_by=_limit(place, flops, moved),
        ),
    ), ()


def _answers(
    place: Place, model: ModelFacts, training: Training, length: float
) -> tuple[Figure, Figure]:
    """Seconds of one text of so many tokens, and texts a second, of the trained model."""
    forward = _forward(model, training, length, length) + 2.0 * training.extra * length
    forward *= training.copies
    moved = training.copies * training.multiplied * training.base_bytes
    cpu, device = _seconds(place, counted(forward), counted(moved))
    one = cpu.plus(device)
    return one, one.inverse(1.0 if place.accelerator is not None else float(place.threads))


def _compared(
    paradigm: Paradigm,
    model: ModelFacts,
    training: Training,
    held: float,
    forward: float,
    extra: float,
    element: float,
    batch: float,
    length: float,
) -> dict[str, Figure]:
    """The table's figures as the phases give them, against the same baselines."""
    activations = element * memory.kept_activations(
        model.layers, model.hidden, model.intermediate, model.heads or 12, batch, length
    )
    inference = training.base * training.base_bytes + training.extra * element
    inference += element * length * (3.0 * model.hidden + 2.0 * model.intermediate)
    scratch = 3.0 * (tokens_forward(model, forward, training))
    found = {
        "training_speedup": _near(scratch / max(1.0, training.flops(forward, extra)), 0.8, 1.25),
        "memory_multiplier": _near(held / max(1.0, inference), 0.6, 1.5),
    }
    if isinstance(paradigm, FineTuning):
        share = 100.0 * training.trained / max(1.0, training.base)
        found["trainable_parameters_percent"] = _near(share, 0.5, 2.0)
        full = model.parameters * (2.0 * element + 8.0) + activations
        found["memory_reduction_factor"] = _near(full / max(1.0, held), 0.6, 1.5)
    return found


def tokens_forward(model: ModelFacts, forward: float, training: Training) -> float:
    """What one pass of the plain model takes, where ``forward`` is of what is trained."""
    if not training.multiplied:
        return forward
    return forward * max(1.0, float(model.multiplied)) / training.multiplied


def _near(value: float, low: float, high: float) -> Figure:
    return Figure.around(value, low, high, Basis.SPEC)


def _unsure() -> Figure:
    return Figure.around(1.0, *_APART, Basis.SPEC)


def _assumed(work: ParadigmWork, model: ModelFacts) -> tuple[Assumption, ...]:
    names = tuple(
        Assumption(
            name, f"{getattr(model, _FIELDS[name]):,}", Source.DEFAULT, "follows from others"
        )
        for name in model.assumed
    )
    return (
        *names,
        work.sequence_length.assumed("sequence_length", "tokens"),
        work.batch_size.assumed("batch_size", "sequences"),
    )


_FIELDS = {"intermediate_size": "intermediate", "parameters": "parameters"}


def _assumption(value: object) -> Assumption:
    given = dict(value)  # type: ignore[call-overload]
    return Assumption(
        str(given["name"]), str(given["value"]), Source(given["source"]), given.get("note", "")
    )


def _left_out(paradigm: Paradigm) -> tuple[Omission, ...]:
    found = [Omission("data", "reading and tokenizing the texts", "train")]
    if isinstance(paradigm, Moe):
        found.append(Omission("routing", "choosing experts, and moving tokens to them", "train"))
    return tuple(found)
