"""Models on their way: imports, pulls and pushes."""

from __future__ import annotations

from collections.abc import Sequence

from stillroom_server.cost.assumptions import Assumption, Omission, Source
from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.physical import embedding, memory
from stillroom_server.cost.physical.built import Built, Outcome
from stillroom_server.cost.physical.phase import ZERO, Phase, counted
from stillroom_server.cost.physical.place import Place
from stillroom_server.cost.workloads import DEFAULT_TOKENS, ImportWork, TransferWork

_SIZE_UNKNOWN = "nobody has looked at how large it is: give data.total_bytes"
_FILES = 12.0  # of a model
_CHECKED_MEMORY = 60e6  # what a file on its way is held in


def imported(place: Place, work: ImportWork) -> Built:
    """A model fetched, verified, converted, published."""
    size = _size(work.total_bytes)
    found, told = _files(work.files)
    fetched = _fetch(place, size, found, network=work.origin == "hub")
    return Built(
        title=f"{work.name or 'a model'} from {_FROM[work.origin]}",
        phases=(fetched, *_kept(place, size, found, work.model)),
        outcome=_outcome(place, size, work.model),
        assumptions=told,
    )


def build(work: TransferWork, place: Place) -> Built:
    """A push or a pull."""
    size = _size(work.total_bytes)
    found, told = _files(work.files)
    omissions: tuple[Omission, ...] = ()
    if work.direction == "pull":
        fetched = _fetch(place, size, found, network=True)
        phases: tuple[Phase, ...] = (fetched, *_kept(place, size, found, work.model))
    else:
        phases = _push(place, size, found)
        note = "what the Hub has already is not sent again, and nobody has asked it"
        told = (*told, Assumption("changed_files", "all", Source.DEFAULT, note))
        omissions = (
            Omission("answers of the Hub", "how long it takes to answer is not known", "commit"),
        )
    return Built(
        title=f"{work.direction} {work.repo}".strip(),
        phases=phases,
        outcome=_outcome(place, size, work.model),
        assumptions=told,
        omissions=omissions,
    )


def as_one(phases: Sequence[Phase]) -> Phase:
    """An import within another operation, which reports all of it as the phase ``import``."""
    first, *rest = phases
    return Phase(
        "import",
        first.unit,
        first.units,
        first.cpu.plus(*(phase.cpu for phase in rest)),
        flops=first.flops.plus(*(phase.flops for phase in rest)),
        traffic=first.traffic.plus(*(phase.traffic for phase in rest)),
        waiting=first.waiting.plus(*(phase.waiting for phase in rest)),
        memory=first.memory.largest(*(phase.memory for phase in rest)),
        disk=first.disk.largest(*(phase.disk for phase in rest)),
        network=first.network.plus(*(phase.network for phase in rest)),
        limited_by=first.limited_by,
    )


_FROM = {"hub": "the Hub", "path": "a folder", "upload": "an upload"}


def _size(total: int | None) -> Figure:
    return Figure.unknown(_SIZE_UNKNOWN) if total is None else counted(float(total))


def _files(given: int | None) -> tuple[float, tuple[Assumption, ...]]:
    if given is not None:
        return float(given), ()
    return _FILES, (Assumption("files", f"{_FILES:g}", Source.DEFAULT, "as models usually have"),)


def _of(size: Figure, one: Figure) -> Figure:
    """``one`` is what a byte takes."""
    return size.times(one)


def _fetch(place: Place, size: Figure, files: float, *, network: bool) -> Phase:
    speeds = place.speeds
    each = speeds.seconds("hash", 1.0).plus(speeds.overhead("answer.byte", 1.0))
    each = each.plus(speeds.overhead("network.byte", 1.0)) if network else each
    cpu = _of(size, each).plus(speeds.overhead("publish.file", files))
    waiting = _of(size, speeds.seconds("write", 1.0, 0.0)).plus(speeds.seconds("write", 0.0, files))
    if network:
        waiting = waiting.plus(_transferred(place, size))
    return Phase(
        "fetch",
        "bytes",
        size,
        cpu,
        traffic=size.scaled(3.0),
        waiting=waiting,
        memory=memory.figure(memory.TRAINER + _CHECKED_MEMORY),
        disk=size,
        network=size if network else ZERO,
        limited_by="the network" if network else "the disk",
    )


def _kept(
    place: Place, size: Figure, files: float, model: ModelFacts | None
) -> tuple[Phase, Phase, Phase]:
    speeds = place.speeds
    rows = 30_000.0 if model is None else float(model.rows)
    checked = speeds.overhead("import.checks").plus(speeds.overhead("tokenizer.build", rows))
    converted = ZERO
    if model is None or model.kind != "teacher":
        converted = speeds.overhead("parity").plus(_of(size, speeds.overhead("parity.byte", 1.0)))
    verify = Phase(
        "verify",
        "checks",
        counted(2.0),
        checked,
        memory=memory.figure(memory.TRAINER + _CHECKED_MEMORY + 2e3 * rows),
        disk=size,
        limited_by="the tokenizer",
    )
    convert = Phase(
        "convert",
        "models" if converted is ZERO else "runs",
        counted(1.0 if converted is ZERO else 200.0),
        converted,
        memory=size.scaled(0.0 if converted is ZERO else 4.0).plus(
            memory.figure(memory.TRAINER + _CHECKED_MEMORY)
        ),
        disk=size,
        limited_by="runs of the graph",
    )
    each = speeds.seconds("hash", 1.0)
    publish = Phase(
        "publish",
        "versions",
        counted(1.0),
        _of(size, each).plus(speeds.overhead("publish"), speeds.overhead("publish.file", files)),
        traffic=size.scaled(2.0),
        waiting=_of(size, speeds.seconds("write", 1.0, 0.0)).plus(
            speeds.seconds("write", 0.0, files)
        ),
        memory=memory.figure(memory.TRAINER + _CHECKED_MEMORY),
        disk=size.scaled(2.0),
        limited_by="hashing",
    )
    return verify, convert, publish


def _push(place: Place, size: Figure, files: float) -> tuple[Phase, Phase, Phase]:
    speeds = place.speeds
    held = memory.figure(memory.TRAINER + _CHECKED_MEMORY)
    compare = Phase(
        "compare",
        "bytes",
        size,
        _of(size, speeds.seconds("hash", 1.0)).plus(speeds.overhead("publish.file", files)),
        traffic=size,
        memory=held,
        limited_by="hashing",
    )
    upload = Phase(
        "upload",
        "bytes",
        size,
        _of(size, speeds.overhead("network.byte", 1.0)),
        traffic=size.scaled(2.0),
        waiting=_transferred(place, size),
        memory=held,
        network=size,
        limited_by="the network",
    )
    commit = Phase(
        "commit",
        "commits",
        counted(1.0),
        speeds.overhead("publish"),
        memory=held,
        limited_by="the network",
    )
    return compare, upload, commit


def _transferred(place: Place, size: Figure) -> Figure:
    if not place.network.known:
        return Figure.unknown(place.network.note)
    return size.times(place.network.inverse())


def _outcome(place: Place, size: Figure, model: ModelFacts | None) -> Outcome:
    none = Figure.unknown("it is the model as it was")
    if model is None:
        unknown = Figure.unknown("nobody has looked at what it is")
        return Outcome(size, none, unknown, unknown)
    return Outcome(
        size,
        none,
        embedding.latency(place, model, DEFAULT_TOKENS),
        embedding.rate(place, model, DEFAULT_TOKENS, 256),
    )
