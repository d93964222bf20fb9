"""What may be made where the choice is left to the server. Light: the front asks too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.recipes.auto import AutoOptions
from stillroom_server.distillation.tuning.options import FEWEST_TEXTS, TunedOptions

Candidate: TypeAlias = tuple[str, StaticOptions | TunedOptions]
"""A recipe as requests name it, with its options."""

_SMALLER = (256, 128, 64, 32)  # dimensions of int8 students, for a budget of bytes


def candidates(
    asked: AutoOptions, texts: float, *, few_bytes: bool = False, widest: int | None = None
) -> Iterator[Candidate]:
    """The best first, for a corpus of ``texts`` (0: there is none). With ``few_bytes`` smaller and
    smaller students follow, of no more than ``widest`` dimensions."""
    start = StaticOptions(seed=asked.seed)
    yield from _both(start, texts)
    if few_bytes:
        for dimensions in _SMALLER:
            if widest is None or dimensions <= widest:
                smaller = replace(start, element_type="int8", dimensions=dimensions)
                yield from _both(smaller, texts)


def _both(start: StaticOptions, texts: float) -> Iterator[Candidate]:
    if texts >= FEWEST_TEXTS:
        yield "static_tuned", TunedOptions(start)
    yield "static", start
