"""What work would take, as the client hands it out.

Each result keeps the message that it was made of: what has no attribute here is in there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from stillroom._protocol import enums
from stillroom.v1 import cost_service_pb2 as pb

FIGURES: tuple[str, ...] = tuple(pb.ResourceFigures.DESCRIPTOR.fields_by_name)
"""The names of all figures of a piece of work: flops, memory_traffic_bytes, cpu_seconds,
wall_seconds, peak_memory_bytes, disk_bytes, network_bytes, energy_joules, co2e_grams, money_usd."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A number and how sure it is.

    p10, p50, p90  one time in ten it is less than the first, one time in two less than the second,
                   one time in ten more than the third; all None where it is not known
    basis          "measured", "calibrated" (from measurements of the host), "spec" (from the
                   specification of a device), "table" (a rule of thumb) or "unknown"
    note           why it is unknown, or what of it is not counted; may be empty
    """

    p10: float | None
    p50: float | None
    p90: float | None
    basis: str
    note: str = ""

    @classmethod
    def of(cls, message: pb.CostFigure) -> Figure:
        """Of the message; one without all three numbers is unknown, whatever it says."""
        basis = enums.word(pb.CostBasis, message.basis)
        if not all(message.HasField(name) for name in ("p10", "p50", "p90")):
            return cls(None, None, None, "unknown", message.note)
        return cls(message.p10, message.p50, message.p90, basis, message.note)

    @property
    def known(self) -> bool:
        """Whether it has numbers."""
        return self.p50 is not None


@dataclass(frozen=True)
class Phase:
    """A phase of the work: its name as the progress of the operation will show it, its figures by
    name, and what limits it, such as "memory bandwidth" (empty: unknown)."""

    name: str
    figures: Mapping[str, Figure]
    limited_by: str
    message: pb.PhaseEstimate


class Estimate:
    """What a piece of work would take. ``message`` is the CostEstimate."""

    def __init__(self, message: pb.CostEstimate) -> None:
        self.message = message

    def __repr__(self) -> str:
        seconds = self.seconds.p50
        took = "unknown time" if seconds is None else f"{seconds:.3g} s"
        return f"<{type(self).__name__} {self.kind} {self.title!r} {took}>"

    @property
    def kind(self) -> str:
        """What the work is: "distill", "train", "embed", "serve", "push", "pull"..."""
        return self.message.kind

    @property
    def title(self) -> str:
        """The way it is done, for people."""
        return self.message.title

    @property
    def runnable(self) -> bool:
        """Whether the server can run it; if not, ``message.not_runnable_reason`` says why."""
        return self.message.runnable

    @property
    def figures(self) -> dict[str, Figure]:
        """All figures of the whole by their names in ``FIGURES``."""
        return _figures(self.message.physical.total)

    @property
    def seconds(self) -> Figure:
        """Seconds on the clock."""
        return Figure.of(self.message.physical.total.wall_seconds)

    @property
    def memory_bytes(self) -> Figure:
        """The most memory at once."""
        return Figure.of(self.message.physical.total.peak_memory_bytes)

    @property
    def energy_joules(self) -> Figure:
        """Energy of the machine."""
        return Figure.of(self.message.physical.total.energy_joules)

    @property
    def co2e_grams(self) -> Figure:
        """What the energy emits."""
        return Figure.of(self.message.physical.total.co2e_grams)

    @property
    def money_usd(self) -> Figure:
        """What it costs."""
        return Figure.of(self.message.physical.total.money_usd)

    @property
    def result_bytes(self) -> Figure:
        """The size of the resulting model, or of the answers."""
        return Figure.of(self.message.outcome.result_bytes)

    @property
    def quality(self) -> Figure:
        """How good the result is, as a share; of what, Outcome.quality says."""
        return Figure.of(self.message.outcome.quality)

    @property
    def latency_seconds(self) -> Figure:
        """Seconds that one text then takes."""
        return Figure.of(self.message.outcome.latency_seconds)

    @property
    def phases(self) -> list[Phase]:
        """The phases in order."""
        return [
            Phase(phase.phase, _figures(phase.resources), phase.limited_by, phase)
            for phase in self.message.physical.phases
        ]


def estimate_of(response: Message) -> Estimate | None:
    """The estimate in the response of a distillation or a training, as ``validate_only`` always
    answers it; None where the server did not say one."""
    packed: Any = getattr(response, "estimate", None)
    message = pb.CostEstimate()
    return Estimate(message) if packed is not None and packed.Unpack(message) else None


@dataclass(frozen=True)
class Candidate:
    """A way to do the work: ``request`` can be given to ``start`` (distill, train, push, pull),
    ``on_frontier`` is whether no other is at least as good in everything and better in
    something."""

    request: Message
    estimate: Estimate
    on_frontier: bool
    reason: str


@dataclass(frozen=True)
class Rejected:
    """A way that is not recommended, and why, for people."""

    candidate: Candidate
    reasons: tuple[str, ...]
    message: pb.RejectedCandidate


@dataclass(frozen=True)
class Recommendation:
    """Ways to do the work: ``ranked`` keep all limits, best first; ``rejected`` do not, those that
    miss least first; ``nearest_miss`` is the one of them that misses least when nothing is ranked.
    ``objective`` is what was preferred."""

    ranked: tuple[Candidate, ...]
    rejected: tuple[Rejected, ...]
    nearest_miss: Rejected | None
    objective: str
    message: pb.Recommendation


@dataclass(frozen=True)
class Estimated:
    """The answer of ``estimate_cost``; ``recommendation`` is None unless asked for."""

    estimate: Estimate
    recommendation: Recommendation | None
    message: pb.EstimateCostResponse

    @classmethod
    def of(cls, message: pb.EstimateCostResponse) -> Estimated:
        """Of the message."""
        found = message.recommendation if message.HasField("recommendation") else None
        return cls(Estimate(message.estimate), found and recommendation(found), message)


@dataclass(frozen=True)
class Devices:
    """What estimates can be made for, this server's host first; the regions of electricity; and
    what an estimate uses unless it is told otherwise."""

    devices: tuple[pb.CostDevice, ...]
    regions: tuple[pb.CostRegion, ...]
    defaults: pb.CostEnvironment


def recommendation(message: pb.Recommendation) -> Recommendation:
    """Of the message."""
    rejected = tuple(
        Rejected(_candidate(item.candidate), tuple(_reasons(item.rejections)), item)
        for item in message.rejected
    )
    nearest = None
    if message.HasField("nearest_miss") and 0 <= message.nearest_miss < len(rejected):
        nearest = rejected[message.nearest_miss]
    return Recommendation(
        tuple(map(_candidate, message.ranked)),
        rejected,
        nearest,
        enums.word(pb.RecommendationObjective, message.objective),
        message,
    )


def _candidate(message: pb.RecommendedCandidate) -> Candidate:
    kind = message.workload.WhichOneof("kind")
    request: Any = getattr(message.workload, kind) if kind else message.workload
    return Candidate(request, Estimate(message.estimate), message.on_frontier, message.reason)


def _reasons(rejections: Iterable[pb.Rejection]) -> list[str]:
    return [item.message or enums.word(pb.RejectionKind, item.kind) for item in rejections]


def _figures(message: pb.ResourceFigures) -> dict[str, Figure]:
    return {name: Figure.of(getattr(message, name)) for name in FIGURES}
