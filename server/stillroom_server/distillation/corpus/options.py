"""What can be chosen about a corpus."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stillroom_registry.errors import InvalidArgument

DEFAULT_HELD_OUT = 0.05
MAX_SHARE = 0.5


@dataclass(frozen=True)
class CorpusOptions:
    """``held_out``: the share of the texts, in (0, 0.5], that are never trained on and measure the
    student; at most 4,096 texts. ``seed`` chooses them, an unsigned 64-bit integer.

    Raises InvalidArgument with the field on construction.
    """

    held_out: float = DEFAULT_HELD_OUT
    seed: int = 0

    def __post_init__(self) -> None:
        share, seed = self.held_out, self.seed
        number = isinstance(share, int | float) and not isinstance(share, bool)
        if not (number and math.isfinite(share) and 0 < share <= MAX_SHARE):
            raise InvalidArgument(f"{share!r} is not in (0, {MAX_SHARE}]", field="held_out")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
            raise InvalidArgument(f"{seed!r} is not an unsigned 64-bit integer", field="seed")
