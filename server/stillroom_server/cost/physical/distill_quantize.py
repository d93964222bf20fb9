"""QUANTIZE: a student read, and stored in fewer bytes."""

from __future__ import annotations

from dataclasses import replace

from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.physical import distill_steps as steps
from stillroom_server.cost.physical import memory, quality, sizes, teacher
from stillroom_server.cost.physical.phase import Phase, about, counted
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.physical.recipe import Made
from stillroom_server.distillation.quantizing.options import QuantizeOptions

_TURNS = 20.0  # of clustering, at most
_MAPPED = 12.0  # bytes a token that shares a row
_LEARNT = 512.0  # texts a transformer is measured on
_TIMES = 6.0


def make(options: QuantizeOptions, student: ModelFacts, place: Place) -> Made:
    """A student's table, or a transformer's weights, as ``options.element_type``."""
    element, clusters = options.element_type, options.vocabulary_clusters
    if student.is_table:
        rows = float(min(clusters, student.rows) if clusters else student.rows)
        weights = sizes.table(rows, student.dimensions, element)
        weights += _MAPPED * student.vocabulary if clusters else 0.0
        folder = sizes.student_folder(weights, student.vocabulary)
        elements = float(student.vocabulary * student.dimensions)
    else:
        rows, elements = float(student.rows), float(student.parameters)
        weights = sizes.transformer_weights(elements, element)
        folder = sizes.transformer_folder(elements, element, student.rows)
    made = replace(student, weight_bytes=round(weights), element_type=element, name="", digest="")
    found = quality.quantized(element, student.rows, float(clusters))
    stored = student.vocabulary, student.dimensions, element
    phases = (
        _load(place, student),
        _quantize(place, student, elements, rows if clusters else 0.0),
        steps.write_table(place, *stored, held=4.0 * elements)
        if student.is_table
        else _moved(place, "write", "student", 1.0, elements, folder),
        steps.verify_table(place, *stored, held=4.0 * elements)
        if student.is_table
        else _proven(place, student, folder),
        steps.report(place, None, None, held=12.0 * elements, disk=folder),
        steps.publish(place, folder),
    )
    sharing = f", {clusters:,} rows" if clusters else ""
    return Made(
        title=f"QUANTIZE, {element}{sharing}",
        phases=phases,
        student=made,
        result=counted(weights),
        quality=found,
        against_table={"quality_retention": found},
    )


def _load(place: Place, student: ModelFacts) -> Phase:
    cpu = place.speeds.seconds("student.load", student.total_bytes or student.weight_bytes)
    return Phase(
        "load",
        "student",
        counted(1.0),
        cpu.plus(steps.start(place)),
        traffic=counted(2.0 * student.weight_bytes),
        memory=memory.held(place, 4.0 * student.parameters),
        limited_by="imports and reading weights",
    )


def _quantize(place: Place, student: ModelFacts, elements: float, clusters: float) -> Phase:
    products = 2.0 * _TURNS * elements * clusters
    cpu = place.speeds.overhead("student.write", 2.0 * elements).plus(
        place.speeds.overhead("product", products / 1e9),
        place.speeds.overhead("cluster.entry", _TURNS * elements if clusters else 0.0),
    )
    units = about(_TURNS, 0.4, 1.0) if clusters else counted(1.0)
    return Phase(
        "quantize",
        "steps",
        units,
        cpu,
        flops=counted(products + elements),
        traffic=counted(12.0 * elements * (_TURNS if clusters else 1.0)),
        memory=memory.held(place, 12.0 * elements + 4.0 * clusters * student.dimensions),
        limited_by="products of matrices" if clusters else "memory bandwidth",
    )


def _moved(
    place: Place, name: str, unit: str, units: float, elements: float, folder: float
) -> Phase:
    return Phase(
        name,
        unit,
        counted(units),
        place.speeds.overhead("student.write", 4.0 * elements),
        traffic=counted(16.0 * elements),
        waiting=place.speeds.seconds("write", folder),
        memory=memory.held(place, 16.0 * elements),
        disk=counted(folder),
        limited_by="memory bandwidth",
    )


def _proven(place: Place, student: ModelFacts, folder: float) -> Phase:
    host = Place(place.speeds, place.threads, place.contention)
    runs = teacher.forward(host, student, _LEARNT * _TIMES, 24.0)
    return Phase(
        "verify",
        "runs",
        counted(steps.PARITY_RUNS),
        runs.cpu.plus(place.speeds.overhead("student.write", 4.0 * student.parameters)),
        flops=runs.flops,
        traffic=runs.traffic,
        spread=0.7,
        memory=memory.held(place, 20.0 * student.parameters),
        disk=counted(2.0 * folder),
        limited_by="runs of the graph",
    )
