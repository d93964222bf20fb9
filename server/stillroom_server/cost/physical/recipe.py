"""What the estimate of a recipe hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from stillroom_server.cost.assumptions import Assumption
from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.physical.phase import Phase


@dataclass(frozen=True)
class Made:
    """``student`` is what will serve; ``result``: bytes of its weights; ``quality`` as a share of
    the teacher's; ``against_table`` as in ``Built``."""

    title: str
    phases: tuple[Phase, ...]
    student: ModelFacts
    result: Figure
    quality: Figure
    assumptions: tuple[Assumption, ...] = ()
    against_table: Mapping[str, Figure] = field(default_factory=dict)
