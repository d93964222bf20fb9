"""What the front and the engine tell each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class TeacherFacts:
    """What never changes about a loaded teacher. ``max_tokens`` includes the ``special_tokens``
    around every text; ``memory_bytes`` is what it holds, about."""

    dimensions: int
    max_tokens: int
    special_tokens: int = 0
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    memory_bytes: int = 0
    device: str = "cpu"
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Work:
    """Texts to embed and how, checked against the teacher's facts."""

    texts: Sequence[str]
    max_tokens: int
    dimensions: int
    prompt: str = ""
    truncate: bool = True
    truncate_left: bool = False
    normalize: bool = True


class WorkResult(NamedTuple):
    """n texts in the order they came: vectors float32 (n, d), tokens int32 (n,) after the cut,
    truncated and empty bool (n,); seconds by phase, ``infer`` being this work's share of the time
    of its batches."""

    vectors: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int32]
    truncated: npt.NDArray[np.bool_]
    empty: npt.NDArray[np.bool_]
    queue_seconds: float
    tokenize_seconds: float
    infer_seconds: float


class BatchRecord(NamedTuple):
    """One forward pass: its texts, their tokens, those with the padding, what it took."""

    texts: int
    tokens: int
    padded_tokens: int
    seconds: float


class LoadedTeacher(NamedTuple):
    """A teacher in memory."""

    name: str
    facts: TeacherFacts
    loaded_at: datetime


class EngineReport(NamedTuple):
    """The state of the engine, and its batches since the report before."""

    loaded: tuple[LoadedTeacher, ...]
    batches: tuple[BatchRecord, ...]
    requests: int
