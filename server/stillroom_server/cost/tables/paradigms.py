"""Paradigms of training and their rules of thumb (model_paradigm.rs of the source)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stillroom_registry.errors import InvalidArgument
from stillroom_server.cost.tables.methods import Method
from stillroom_server.cost.tables.values import JSON, Rules, whole_number

_MOST = 2**31 - 1


@dataclass(frozen=True)
class Paradigm:
    """A paradigm: how the protocol calls it, and its rules."""

    name: ClassVar[str]  # of the enum Paradigm, and of the field in ParadigmWorkload
    display: ClassVar[str]
    constants: ClassVar[Rules]
    requires_pretrained: ClassVar[bool] = False

    @property
    def display_name(self) -> str:
        return self.display

    @property
    def rules(self) -> Rules:
        return self.constants

    @property
    def parameter_efficient(self) -> bool:
        return False

    def assumptions(self) -> list[JSON]:
        """The CostAssumptions for parameters that were left to this service."""
        return []


@dataclass(frozen=True)
class TraditionalMl(Paradigm):
    name, display = "traditional_ml", "Traditional ML"
    constants = Rules.constants(1.5, 10.0, 0.7, 10.0)


@dataclass(frozen=True)
class DeepLearning(Paradigm):
    name, display = "deep_learning", "Deep Learning"
    constants = Rules.constants(4.0, 1.0, 1.0, 1.0)


@dataclass(frozen=True)
class FineTuning(Paradigm):
    """All its figures are those of its ``method``."""

    name, display = "fine_tuning", "Fine-tuning"
    requires_pretrained = True
    method: Method

    @property
    def display_name(self) -> str:
        return f"Fine-tuning ({self.method.display_name})"

    @property
    def rules(self) -> Rules:
        return self.method.rules

    @property
    def parameter_efficient(self) -> bool:
        return self.method.parameter_efficient


@dataclass(frozen=True)
class Distillation(Paradigm):
    name, display = "distillation", "Knowledge Distillation"
    requires_pretrained = True
    constants = Rules.constants(5.0, 1.5, 0.85, 0.5)


@dataclass(frozen=True)
class Moe(Paradigm):
    """``experts`` and ``active_experts`` of a token; 0 leaves either to this service. Raises
    InvalidArgument on the field."""

    name, display = "moe", "Mixture of Experts"
    constants = Rules.constants(2.0, 0.8, 1.05, 1.2)
    experts: int = 0
    active_experts: int = 0

    def __post_init__(self) -> None:
        whole_number(self.experts, "experts", 0, _MOST)
        whole_number(self.active_experts, "active_experts", 0, _MOST)
        if self.active_experts > self.count:
            raise InvalidArgument(
                f"a token cannot use {self.active_experts} of {self.count} experts",
                field="active_experts",
            )

    @property
    def count(self) -> int:
        return self.experts or 8

    @property
    def active(self) -> int:
        return self.active_experts or min(2, self.count)

    def assumptions(self) -> list[JSON]:
        asked = [("experts", self.experts, self.count)]
        asked.append(("active_experts", self.active_experts, self.active))
        return [_assumed(name, used) for name, given, used in asked if not given]


@dataclass(frozen=True)
class Ensemble(Paradigm):
    """``members``; 0 leaves it to this service. Raises InvalidArgument on it."""

    name, display = "ensemble", "Ensemble"
    constants = Rules.constants(3.0, 0.5, 1.02, 0.3)
    members: int = 0

    def __post_init__(self) -> None:
        whole_number(self.members, "members", 0, _MOST)

    @property
    def count(self) -> int:
        return self.members or 3

    def assumptions(self) -> list[JSON]:
        return [] if self.members else [_assumed("members", self.count)]


PARADIGMS: dict[str, type[Paradigm]] = {
    paradigm.name: paradigm
    for paradigm in (TraditionalMl, DeepLearning, FineTuning, Distillation, Moe, Ensemble)
}


def _assumed(name: str, value: int) -> JSON:
    return {"name": name, "value": str(value), "source": "COST_ASSUMPTION_SOURCE_DEFAULT"}
