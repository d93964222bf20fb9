"""Training with a limit of seconds."""

from __future__ import annotations

from dataclasses import replace

from stillroom_server.cost.figures import Figure
from stillroom_server.cost.physical.phase import Phase
from stillroom_server.cost.physical.place import Place

_SAVING = 0.2  # of the limit, for a disk that is waited for beside it
_NOTE = "without the limit of seconds: how much of it is done by then depends on the machine"


def limited(phase: Phase, seconds: float | None, place: Place) -> Phase:
    """Ends when so many seconds on the clock have gone, with what it has done by then."""
    if seconds is None:
        return phase
    share = 1.0 - phase.spread + phase.spread / max(1, place.threads)
    return replace(
        phase,
        cpu=_at_most(phase.cpu, seconds / (share * place.contention)),
        device=_at_most(phase.device, seconds),
        waiting=_at_most(phase.waiting, _SAVING * seconds),
        flops=phase.flops.with_note(_NOTE),
        traffic=phase.traffic.with_note(_NOTE),
    )


def _at_most(figure: Figure, most: float) -> Figure:
    return figure.mapped(lambda value: min(value, most))
