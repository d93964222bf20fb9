"""TRANSFORMER: some of the teacher's layers, trained on its vectors of a corpus."""

from __future__ import annotations

from dataclasses import replace

from stillroom_registry.errors import InvalidArgument
from stillroom_server.cost.assumptions import Assumption, Source
from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.physical import distill_steps as steps
from stillroom_server.cost.physical import memory, quality, sizes, teacher
from stillroom_server.cost.physical.distill_options import Corpus
from stillroom_server.cost.physical.limited import limited
from stillroom_server.cost.physical.phase import ZERO, Phase, about, counted
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.physical.recipe import Made
from stillroom_server.cost.physical.reference import STEP_OVER_FORWARD
from stillroom_server.distillation.transformer.options import DEFAULT_EPOCHS, TransformerOptions

_BATCH = 64.0
_TRIED = 512.0  # texts that the choice of an element type is measured on
_TYPES = 3.0
_CHECKED = 30.0  # times that those texts go through the graph, about
_WORKERS = 2  # cores that a step uses at most
_TRAINED_TRAFFIC = 12.0


def make(
    options: TransformerOptions, facts: ModelFacts, place: Place, corpus: Corpus | None
) -> Made:
    """Raises InvalidArgument for more layers, width or dimensions than the teacher's."""
    assert corpus is not None
    told: list[Assumption] = []
    kept = _kept(options, facts)
    dimensions = _at_most("dimensions", options.dimensions, facts.dimensions)
    hidden = _at_most("hidden_size", options.hidden_size, facts.hidden)
    parameters, multiplied = sizes.kept_layers(facts, kept, hidden)
    element = options.element_type or "float32"
    if options.element_type is None:
        told.append(
            Assumption("element_type", "float32", Source.DEFAULT, "smaller where that loses little")
        )
    epochs = options.max_epochs or DEFAULT_EPOCHS
    if options.max_epochs is None:
        told.append(Assumption("max_epochs", f"{epochs}", Source.DEFAULT))
    student = replace(
        facts,
        kind="student",
        layers=kept,
        hidden=hidden,
        intermediate=round(facts.intermediate * hidden / facts.hidden),
        parameters=round(parameters),
        multiplied=round(multiplied),
        weight_bytes=round(sizes.transformer_weights(parameters, element)),
        dimensions=dimensions,
        max_tokens=options.max_tokens or facts.max_tokens,
        element_type=element,
        name="",
        digest="",
    )
    folder = sizes.transformer_folder(parameters, element, facts.rows)
    vectors = 8.0 * facts.dimensions * corpus.texts
    disk = vectors + 32.0 * parameters
    phases = (
        steps.featurize(place, facts, corpus),
        _prepare(place, facts, student, disk),
        _train(place, facts, student, corpus, epochs, options.time_budget_seconds, disk),
        _write(place, facts, student, corpus, disk),
        _verify(place, facts, student, corpus, disk),
        steps.report(place, facts, corpus, held=8.0 * parameters, disk=disk + folder),
        steps.publish(place, folder, files=14.0, disk=disk),
    )
    found = quality.transformer(kept, facts.layers, hidden / facts.hidden, element)
    smallest = sizes.transformer_weights(parameters, "int8") / student.weight_bytes
    return Made(
        title=f"TRANSFORMER, {kept} of {facts.layers} layers, {dimensions} dimensions",
        phases=phases,
        student=student,
        result=counted(student.weight_bytes)
        if options.element_type
        else about(student.weight_bytes, smallest, 1.0),
        quality=found,
        assumptions=tuple(told),
        against_table={"quality_retention": found},
    )


def _kept(options: TransformerOptions, facts: ModelFacts) -> int:
    return _at_most("layers", options.layers, facts.layers, (facts.layers + 1) // 2)


def _at_most(name: str, asked: int | None, most: int, default: int | None = None) -> int:
    if asked is None:
        return most if default is None else default
    if asked > most:
        raise InvalidArgument(
            f"{name}: {asked} is more than the teacher's {most}; choose at most {most}",
            field=f"transformer.{name}",
        )
    return asked


def _prepare(place: Place, facts: ModelFacts, student: ModelFacts, disk: float) -> Phase:
    cpu = teacher.load(place, facts, imports=False).plus(
        teacher.load(place, student, imports=False)
    )
    fitted = teacher.part(place, facts, student, 4096.0, 24.0)
    return Phase(
        "prepare",
        "student",
        counted(1.0),
        cpu.plus(fitted.cpu),
        flops=fitted.flops,
        traffic=fitted.traffic,
        device=fitted.device,
        spread=teacher.SPREAD,
        memory=memory.held(place, 0.0, memory.weights(place, facts) + _state(place, student)),
        disk=counted(disk),
        limited_by="the student's arithmetic",
    )


def _train(
    place: Place,
    facts: ModelFacts,
    student: ModelFacts,
    corpus: Corpus,
    epochs: int,
    seconds: float | None,
    disk: float,
) -> Phase:
    """A step goes through the layers forward and twice as much backward; measured against what a
    forward pass takes it is more, as gradients of tables and Adam move memory."""
    length = corpus.tokens + teacher.SPECIAL_TOKENS
    once = teacher.part(place, facts, student, epochs * corpus.training, length)
    batches = epochs * max(1.0, corpus.training / _BATCH)
    factor = STEP_OVER_FORWARD
    activations = place.element_bytes * memory.kept_activations(
        student.layers, student.hidden, student.intermediate, student.heads or 12, _BATCH, length
    )
    phase = Phase(
        "train",
        "steps",
        about(batches, 0.5, 1.0),
        once.cpu.scaled(factor),
        flops=once.flops.scaled(3.0),
        traffic=once.traffic.scaled(3.0).plus(
            counted(_TRAINED_TRAFFIC * student.parameters * batches)
        ),
        device=once.device.scaled(factor / 2.0),
        spread=teacher.SPREAD,
        waiting=place.speeds.seconds("write", 12.0 * student.parameters * epochs, epochs),
        memory=memory.held(
            place,
            0.0,
            memory.weights(place, facts) + _state(place, student) + activations * _WORKERS,
        ),
        disk=counted(disk),
        limited_by="the student's arithmetic",
    )
    return limited(phase, seconds, Place(place.speeds, min(place.threads, _WORKERS)))


def _state(place: Place, student: ModelFacts) -> float:
    """Bytes of weights, gradients, the optimizer's state, and the best so far."""
    return memory.training(student.parameters, student.parameters, place.element_bytes, 0.0) + (
        4.0 * student.parameters
    )


def _write(
    place: Place, facts: ModelFacts, student: ModelFacts, corpus: Corpus, disk: float
) -> Phase:
    tried = teacher.part(place, facts, student, _TRIED * _TYPES, corpus.tokens + 2.0)
    moved = place.speeds.overhead("student.write", 4.0 * student.parameters)
    return Phase(
        "write",
        "student",
        counted(1.0),
        tried.cpu.plus(moved),
        flops=tried.flops,
        traffic=counted(16.0 * student.parameters),
        spread=teacher.SPREAD,
        device=tried.device,
        waiting=place.speeds.seconds("write", 4.0 * student.parameters),
        memory=memory.held(place, 0.0, 16.0 * student.parameters),
        disk=counted(disk),
        limited_by="the student's arithmetic",
    )


def _verify(
    place: Place, facts: ModelFacts, student: ModelFacts, corpus: Corpus, disk: float
) -> Phase:
    host = Place(place.speeds, place.threads, place.contention)
    runs = teacher.part(host, facts, student, _TRIED * _CHECKED, corpus.tokens + 2.0)
    moved = place.speeds.overhead("student.write", 8.0 * student.parameters)
    return Phase(
        "verify",
        "runs",
        counted(200.0),
        runs.cpu.plus(moved),
        flops=runs.flops,
        traffic=counted(32.0 * student.parameters),
        spread=0.7,
        memory=memory.held(place, 0.0, 20.0 * student.parameters),
        disk=counted(disk) if disk else ZERO,
        limited_by="runs of the graph",
    )
