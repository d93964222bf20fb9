"""STATIC: every token of a vocabulary through the teacher, principal axes, files."""

from __future__ import annotations

from stillroom_server.cost.assumptions import Assumption
from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.physical import distill_steps as steps
from stillroom_server.cost.physical import memory, quality, sizes
from stillroom_server.cost.physical.distill_options import Corpus, dimensions_of, rows_of
from stillroom_server.cost.physical.phase import Phase, counted
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.physical.recipe import Made
from stillroom_server.cost.physical.reference import TEACHER_WIDTH
from stillroom_server.distillation.options import StaticOptions, fields_under

_LEFT, _KEPT = 64e6, 0.5  # bytes of libraries; share of what passes had that stays
_EIGH = 25.0  # operations of the eigenvectors of a symmetric matrix, for each width^3
_MEASURED_AXES = 256.0  # that the line ``pca`` projects to


def make(options: StaticOptions, teacher: ModelFacts, place: Place, corpus: Corpus | None) -> Made:
    """Raises InvalidArgument for more dimensions than the teacher's."""
    told: list[Assumption] = []
    with fields_under("static"):
        dimensions = dimensions_of(options, teacher, told)
    rows = float(rows_of(options, teacher, told))
    element = options.element_type
    student = table_student(rows, dimensions, element, options.max_tokens)
    folder = sizes.student_folder(student.weight_bytes, rows)
    vectors = 4.0 * rows * teacher.dimensions
    # What passes have freed stays with the process, most of it.
    kept = _LEFT + _KEPT * (memory.passes(place, teacher, memory.ROW_TOKENS) + vectors)
    kept = kept if place.accelerator is None else vectors
    drawn = kept + 14.0 * rows * dimensions
    phases = (
        steps.load(place, teacher, first=corpus is None),
        steps.encode(place, teacher, rows),
        reduce(place, teacher, rows, dimensions, kept, projected=options.dimensions is not None),
        steps.write_table(place, rows, dimensions, element, held=kept, disk=vectors),
        steps.verify_table(place, rows, dimensions, element, held=kept, disk=vectors),
        steps.report(place, teacher, None, held=drawn, disk=vectors + folder),
        steps.publish(place, folder, disk=vectors),
    )
    return Made(
        title=f"STATIC, {dimensions} dimensions, {element}",
        phases=phases,
        student=student,
        result=counted(student.weight_bytes),
        quality=(found := quality.static(dimensions, element)),
        assumptions=tuple(told),
        against_table={"quality_retention": found},
    )


def reduce(
    place: Place,
    teacher: ModelFacts,
    rows: float,
    dimensions: float,
    held: float,
    *,
    projected: bool,
) -> Phase:
    """Principal axes of the rows and the rows along them; without ``projected`` only weights.
    ``held``: bytes that earlier phases left in memory."""
    width = float(teacher.dimensions)
    kept = dimensions if projected else 0.0
    axes = 2.0 * rows * width * width if projected else 0.0
    flops = axes + (_EIGH * width**3 if projected else 0.0) + 2.0 * rows * width * kept
    cpu = place.speeds.overhead("reduce.element", rows * (width + dimensions))
    if projected:
        line = 2.0 * width * width + 2.0 * width * _MEASURED_AXES
        own = 2.0 * width * width + 2.0 * width * kept
        share = own / line if place.speeds.has("pca") else _share_of_reference(width, kept)
        cpu = cpu.plus(place.speeds.seconds("pca", rows * share))
    return Phase(
        "reduce",
        "table",
        counted(1.0),
        cpu,
        flops=counted(flops),
        traffic=counted(12.0 * rows * width),
        memory=memory.held(place, held + 8.0 * rows * dimensions),
        disk=counted(4.0 * rows * width),
        limited_by="products of matrices",
    )


def table_student(
    rows: float, dimensions: int, element_type: str, max_tokens: int | None
) -> ModelFacts:
    """A static student that is not there yet."""
    return ModelFacts(
        kind="student",
        architecture="table",
        layers=0,
        hidden=dimensions,
        intermediate=0,
        rows=round(rows),
        vocabulary=round(rows),
        parameters=round(rows * dimensions),
        multiplied=0,
        weight_bytes=round(sizes.table(rows, dimensions, element_type)),
        dimensions=dimensions,
        max_tokens=max_tokens or 0,
        element_type=element_type,
    )


def _share_of_reference(width: float, kept: float) -> float:
    """The reference's line is of a teacher of 384 dimensions."""
    line = 2.0 * TEACHER_WIDTH**2 + 2.0 * TEACHER_WIDTH * _MEASURED_AXES
    return (2.0 * width * width + 2.0 * width * kept) / line
