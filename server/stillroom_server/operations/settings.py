"""The knobs of operations, with their defaults."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field


def all_cores() -> int:
    """The cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def spare_cores() -> int:
    """The cores this process may use, less the one that serving keeps; at least 1."""
    return max(1, all_cores() - 1)


class OperationsSettings(BaseModel):
    """How operations are executed. Times are in seconds.

    - ``lease_seconds``: a runner that has been silent for so long loses its claims.
    - ``heartbeat_seconds``: how often a claim is extended.
    - ``tick_seconds``: how often cancellation is looked for.
    - ``progress_seconds``: how often, at most, progress is written. After each time a server asks
      the registry anew what names mean, so requests beside the work feel it.
    - ``stop_grace_seconds``: what an executor has to unwind in when its runner stops.
    - ``cancel_grace_seconds``: the same when it is cancelled or lost; then its process is ended.
    - ``idle_seconds``: a runner without work exits after this.
    - ``max_lost_attempts``: an operation fails when its runner has died this often.
    - ``concurrency``: operations that one runner executes at once.
    - ``slice_seconds``: an operation that ran so long gives way to others that wait, at its next
      checkpoint.
    - ``nice``: how far the priority of runners is lowered.
    - ``threads``: of a runner's numeric libraries while requests arrive, and of those that cannot
      change it; by default the cores less one.
    - ``restart_seconds``, ``max_restart_seconds``: the pause before a dead runner is replaced; it
      doubles from the first to the second while runners die young.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lease_seconds: float = Field(default=15.0, gt=0)
    heartbeat_seconds: float = Field(default=3.0, gt=0)
    tick_seconds: float = Field(default=0.2, gt=0)
    progress_seconds: float = Field(default=1.0, ge=0)
    stop_grace_seconds: float = Field(default=1.0, ge=0)
    cancel_grace_seconds: float = Field(default=1.25, ge=0)
    idle_seconds: float = Field(default=60.0, ge=0)
    max_lost_attempts: int = Field(default=3, ge=1)
    concurrency: int = Field(default=1, ge=1, le=64)
    slice_seconds: float = Field(default=120.0, gt=0)
    nice: int = Field(default=10, ge=0, le=19)
    threads: int = Field(default_factory=spare_cores, ge=1)
    restart_seconds: float = Field(default=0.5, gt=0)
    max_restart_seconds: float = Field(default=30.0, gt=0)
