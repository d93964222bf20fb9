"""Methods of fine-tuning and their rules of thumb (fine_tune.rs of the source).

``memory_reduction`` contradicts ``memory_multiplier`` in places, and falls below 1 for LoRA of rank
above 100. Both stand as the source has them; neither is derived from the other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from stillroom_registry.errors import InvalidArgument
from stillroom_server.cost.tables.values import Rule, Rules, whole_number

_MAX_RANK = 2**31 - 1  # the source's u32 would take twice that; the protocol's int32 does not


@dataclass(frozen=True)
class Method:
    """A method of fine-tuning: how the protocol calls it, and its rules."""

    name: ClassVar[str]  # of FineTuningMethod, and of the field in FineTuningParadigm
    parameter_efficient: ClassVar[bool] = True

    @property
    def display_name(self) -> str:
        raise NotImplementedError

    @property
    def rules(self) -> Rules:
        raise NotImplementedError

    @property
    def trainable_percent(self) -> Rule:
        """Percent of the parameters that are trained."""
        raise NotImplementedError

    @property
    def memory_reduction(self) -> Rule:
        """How many times less memory than full fine-tuning."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Ranked(Method):
    """``rank`` of the matrices. Raises InvalidArgument on ``rank`` unless it is above 0."""

    rank: int

    def __post_init__(self) -> None:
        whole_number(self.rank, "rank", 1, _MAX_RANK)

    @property
    def trainable_percent(self) -> Rule:
        return Rule(0.1 * min(self.rank / 8, 2.0), "0.1 * min(r / 8, 2)")


@dataclass(frozen=True)
class Lora(_Ranked):
    """``alpha`` is the scale of the update: shown, and in no figure; None: the rank. Raises
    InvalidArgument on ``alpha`` unless it is finite."""

    name = "lora"
    alpha: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha is not None and not math.isfinite(self.alpha):
            raise InvalidArgument(
                f"alpha is {self.alpha}; it must be finite", reason="NOT_FINITE", field="alpha"
            )

    @property
    def display_name(self) -> str:
        alpha = self.rank if self.alpha is None else self.alpha
        return f"LoRA(r={self.rank}, α={_plain(alpha)})"  # noqa: RUF001 - the source's own

    @property
    def rules(self) -> Rules:
        return Rules(
            memory_multiplier=Rule(1.2),
            training_speedup=Rule(5.0 / (1.0 + self.rank / 64.0), "5 / (1 + r / 64)"),
            quality_retention=Rule(
                0.95 + min(self.rank / 256.0, 0.05), "0.95 + min(r / 256, 0.05)"
            ),
            batch_size_multiplier=Rule(2.0),
        )

    @property
    def memory_reduction(self) -> Rule:
        return Rule(100.0 / max(self.rank, 1), "100 / max(r, 1)")


@dataclass(frozen=True)
class Qlora(_Ranked):
    """``bits`` of a weight of the base. Raises InvalidArgument on ``bits`` unless they are 2 to 32:
    the source divides by them."""

    name = "qlora"
    bits: int

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number(self.bits, "bits", 2, 32)

    @property
    def display_name(self) -> str:
        return f"QLoRA(r={self.rank}, {self.bits}-bit)"

    @property
    def rules(self) -> Rules:
        return Rules.constants(1.1, 6.0, 0.93, 4.0)

    @property
    def memory_reduction(self) -> Rule:
        value = (32.0 / self.bits) / (1.0 + 0.01 * self.rank)
        return Rule(value, "(32 / b) / (1 + 0.01 * r)")


@dataclass(frozen=True)
class _Plain(Method):
    """A method without parameters."""

    display: ClassVar[str]
    constants: ClassVar[Rules]
    trained: ClassVar[float]
    reduction: ClassVar[float]

    @property
    def display_name(self) -> str:
        return self.display

    @property
    def rules(self) -> Rules:
        return self.constants

    @property
    def trainable_percent(self) -> Rule:
        return Rule(self.trained)

    @property
    def memory_reduction(self) -> Rule:
        return Rule(self.reduction)


@dataclass(frozen=True)
class Adapter(_Plain):
    name, display = "adapter", "Adapter"
    constants = Rules.constants(1.5, 4.0, 0.92, 1.5)
    trained, reduction = 5.0, 10.0


@dataclass(frozen=True)
class Prefix(_Plain):
    name, display = "prefix", "Prefix"
    constants = Rules.constants(1.3, 5.0, 0.88, 1.8)
    trained, reduction = 1.0, 20.0


@dataclass(frozen=True)
class Ia3(_Plain):
    name, display = "ia3", "IA³"
    constants = Rules.constants(1.1, 8.0, 0.90, 3.0)
    trained, reduction = 0.01, 50.0


@dataclass(frozen=True)
class Full(_Plain):
    name, display = "full", "Full"
    parameter_efficient = False
    constants = Rules.constants(4.0, 2.0, 1.0, 1.0)
    trained, reduction = 100.0, 1.0


METHODS: dict[str, type[Method]] = {
    method.name: method for method in (Lora, Qlora, Adapter, Prefix, Ia3, Full)
}


def _plain(number: float) -> str:
    """Shortest digits without an exponent, as Rust prints: 64, 0.5."""
    text = format(Decimal(repr(float(number))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
