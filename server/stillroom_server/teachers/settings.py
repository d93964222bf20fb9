"""The knobs of the teacher engine, as they travel to it."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field


def available_cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


class EngineSettings(BaseModel):
    """What the engine process is told. Times are in seconds.

    - ``device``, ``dtype``: as in ``Teacher.load``.
    - ``threads``: of torch; 0: every core.
    - ``batch_tokens``: padded tokens of one forward pass; 0: what suits the device.
    - ``memory_bytes``: of all loaded teachers together; 0: half of the device's memory.
    - ``idle_seconds``: a teacher that nobody used for so long is unloaded.
    - ``retry_seconds``: a teacher that did not load is not tried again for so long.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = "auto"
    dtype: str = "auto"
    threads: int = Field(default=0, ge=0)
    batch_tokens: int = Field(default=0, ge=0)
    memory_bytes: int = Field(default=0, ge=0)
    idle_seconds: float = Field(default=600.0, gt=0)
    retry_seconds: float = Field(default=30.0, ge=0)
    log_level: str = "info"
    log_format: str = "auto"
