"""Steps that several recipes share: a corpus read, a student written, proven, measured, kept."""

from __future__ import annotations

from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.physical import memory, sizes, teacher
from stillroom_server.cost.physical.distill_options import Corpus
from stillroom_server.cost.physical.phase import ZERO, Phase, counted
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.physical.sizes import student_folder

PARITY_RUNS = 200
BUILT_IN_TEXTS = 300.0
_BUILT_IN_TOKENS = 17.0
_MEASURED = 4096.0  # texts at most, held out, and as many of the training
_GRAPH_SPREAD = 0.6  # of runs that use all cores


def start(place: Place) -> Figure:
    """Core seconds before the first step: what recipes import, torch among it."""
    return place.speeds.overhead("distill.start").plus(place.speeds.seconds("torch.import", 1.0))


def corpus(place: Place, given: Corpus) -> Phase:
    """Read, cleaned, told apart, written as shards."""
    speeds = place.speeds
    cpu = speeds.overhead("corpus.text", given.texts).plus(
        speeds.overhead("corpus.byte", given.size), start(place)
    )
    text = given.texts * given.tokens * 4.5
    return Phase(
        "corpus",
        "bytes",
        counted(given.size),
        cpu,
        waiting=speeds.seconds("write", text),
        memory=memory.held(place, 20.0 * given.texts),
        disk=counted(text),
        limited_by="imports, and cleaning texts on one core",
    )


def featurize(place: Place, facts: ModelFacts, given: Corpus) -> Phase:
    """Every text through the teacher, once; the vectors are kept."""
    length = given.tokens + teacher.SPECIAL_TOKENS
    passes = teacher.forward(place, facts, given.texts, length)
    vectors = 4.0 * facts.dimensions * given.texts
    loaded = teacher.load(place, facts, imports=False)
    cpu = passes.cpu.plus(loaded, place.speeds.seconds("hash", vectors))
    return Phase(
        "featurize",
        "texts",
        counted(given.texts),
        cpu,
        flops=passes.flops,
        traffic=passes.traffic,
        spread=teacher.SPREAD,
        device=passes.device,
        waiting=place.speeds.seconds("write", vectors, max(1.0, given.texts / 2048)),
        memory=memory.held(place, 0.0, memory.passes(place, facts)),
        disk=counted(vectors + given.size),
        limited_by="the teacher's arithmetic",
    )


def load(place: Place, facts: ModelFacts, *, first: bool) -> Phase:
    """``first``: nothing of it was imported before."""
    cpu = teacher.load(place, facts, imports=False)
    cpu = cpu.plus(start(place)) if first else cpu
    return Phase(
        "load",
        "teacher",
        counted(1.0),
        cpu,
        traffic=counted(2.0 * facts.weight_bytes),
        memory=memory.held(place, 0.0, memory.weights(place, facts)),
        limited_by="imports and reading weights",
    )


def encode(
    place: Place, facts: ModelFacts, rows: float, *, held: float = 0.0, disk: float = 0.0
) -> Phase:
    """Every token of a vocabulary through the teacher. ``held`` and ``disk``: bytes that earlier
    phases left."""
    passes = teacher.vocabulary(place, facts, rows)
    vectors = 4.0 * facts.dimensions * rows
    own = memory.passes(place, facts, memory.ROW_TOKENS)
    return Phase(
        "encode",
        "tokens",
        counted(rows),
        passes.cpu,
        flops=passes.flops,
        traffic=passes.traffic,
        spread=teacher.SPREAD,
        device=passes.device,
        waiting=place.speeds.seconds("write", vectors),
        memory=memory.held(place, vectors, max(own, held)),
        disk=counted(vectors + disk),
        limited_by="the teacher's arithmetic",
    )


def write_table(
    place: Place,
    rows: float,
    dimensions: float,
    element_type: str,
    *,
    held: float = 0.0,
    disk: float = 0.0,
) -> Phase:
    """A static student's folder."""
    weights = sizes.table(rows, dimensions, element_type)
    cpu = place.speeds.overhead("student.write", rows * dimensions).plus(
        place.speeds.overhead("tokenizer.build", rows)
    )
    return Phase(
        "write",
        "student",
        counted(1.0),
        cpu,
        traffic=counted(12.0 * rows * dimensions),
        memory=memory.held(place, held + 4.0 * rows * dimensions),
        disk=counted(disk + weights + 24.0 * rows + sizes.ABOUT),
        limited_by="the tokenizer's file",
    )


def verify_table(
    place: Place,
    rows: float,
    dimensions: float,
    element_type: str,
    *,
    held: float = 0.0,
    disk: float = 0.0,
    new_tokens: bool = False,
) -> Phase:
    """The graph exported, and held to the weights in 200 runs. ``new_tokens``: the vocabulary is
    one that no fast tokenizer has been held to yet."""
    folder = student_folder(sizes.table(rows, dimensions, element_type), rows)
    elements = rows * dimensions
    cpu = place.speeds.overhead("parity").plus(
        place.speeds.overhead("parity.byte", 4.0 * elements),
        place.speeds.overhead("tokenizer.build", rows),
        place.speeds.overhead("tokenizer.check", 1.0 if new_tokens else 0.0),
    )
    return Phase(
        "verify",
        "runs",
        counted(PARITY_RUNS),
        cpu,
        traffic=counted(16.0 * elements),
        spread=_GRAPH_SPREAD,
        memory=memory.held(place, held + 14.0 * elements),
        disk=counted(disk + folder),
        limited_by="runs of the graph",
    )


def report(
    place: Place,
    facts: ModelFacts | None,
    given: Corpus | None,
    *,
    held: float = 0.0,
    disk: float = 0.0,
) -> Phase:
    """The student measured against its teacher, by the vectors that there are of ``given``; without
    them by those of built-in texts, for which the teacher is loaded once more, and a map that is
    fitted ten times. ``facts`` None: against another student, whose space is its own."""
    speeds = place.speeds
    measured = BUILT_IN_TEXTS if given is None else min(_MEASURED, given.held_out)
    texts = 2.0 * BUILT_IN_TEXTS
    if given is not None:
        texts = measured + min(_MEASURED, given.training)
    flops = 1000.0 * 2.0 * max(measured, BUILT_IN_TEXTS) ** 2
    cpu = speeds.overhead("report").plus(
        speeds.overhead("report.text", texts), speeds.overhead("product", flops / 1e9)
    )
    found, device, on_device, spread = counted(flops), ZERO, 0.0, 0.0
    if given is None and facts is not None:
        passes = teacher.forward(place, facts, BUILT_IN_TEXTS, _BUILT_IN_TOKENS)
        loaded = teacher.load(place, facts, imports=False)
        mapped = speeds.overhead("report.map", facts.dimensions)
        cpu = cpu.plus(passes.cpu, loaded, mapped)
        found, device, spread = found.plus(passes.flops), passes.device, _GRAPH_SPREAD
        on_device = memory.weights(place, facts)
    return Phase(
        "report",
        "texts",
        counted(texts),
        cpu,
        flops=found,
        spread=spread,
        device=device,
        memory=memory.held(
            place, held + memory.DRAWER + 4.0 * max(measured, BUILT_IN_TEXTS) ** 2, on_device
        ),
        disk=counted(disk),
        limited_by="measuring, and drawing figures",
    )


def publish(
    place: Place, size: float, unit: str = "student", files: float = 9.0, disk: float = 0.0
) -> Phase:
    """Hashed, kept, entered into the registry. ``size`` of its folder, ``disk`` of all else."""
    speeds = place.speeds
    cpu = speeds.seconds("hash", size).plus(
        speeds.overhead("publish"), speeds.overhead("publish.file", files)
    )
    return Phase(
        "publish",
        unit,
        counted(1.0),
        cpu,
        traffic=counted(2.0 * size),
        waiting=speeds.seconds("write", size, files),
        disk=counted(disk + 2.0 * size),
        limited_by="hashing",
    )
