"""What can be chosen about the benchmarks, with the defaults that the documents' figures used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Knobs:
    """``teacher`` is the folder of the model inside ``package``; ``pairs`` are rounds of each side
    of ``distill``; ``rounds`` of about ``round_seconds`` each, at each of ``batches`` texts a
    message, those of ``stream``; ``calls`` its unary calls; ``warm_up`` the rounds of each side
    before the first that counts. ``concurrencies`` are the calls in flight of ``saturated``,
    ``starts`` the servers of ``ready``, ``texts`` those of ``memory``, ``seconds`` the length of
    each load of ``overload``. ``corpora``, ``trainings`` and ``embeddings`` are the texts of the
    jobs of ``estimate``, each of which is done ``jobs`` times."""

    package: str
    teacher: Path
    dimensions: int = 256
    pairs: int = 3
    rounds: int = 5
    round_seconds: float = 1.0
    batches: tuple[int, ...] = (1, 32, 256, 1024)
    calls: int = 3000
    warm_up: int = 1
    concurrencies: tuple[int, ...] = (16, 64)
    starts: int = 9
    texts: int = 5_000_000
    seconds: float = 60.0
    corpora: tuple[int, ...] = (500, 2000)
    trainings: tuple[int, ...] = (1_000, 10_000)
    embeddings: tuple[int, ...] = (1_000, 100_000, 1_000_000)
    jobs: int = 1
