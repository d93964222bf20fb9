"""The knobs of operations, with their defaults."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field


def spare_cores() -> int:
    """The cores this process may use, less the one that serving keeps; at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    return max(1, cores - 1)


class OperationsSettings(BaseModel):
    """How operations are executed. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lease_seconds: float = Field(
        15.0, gt=0, description="How long a silent runner keeps its claim."
    )
    heartbeat_seconds: float = Field(3.0, gt=0, description="How often a claim is extended.")
    tick_seconds: float = Field(
        0.2, gt=0, description="How often progress is written and cancellation looked for, at most."
    )
    stop_grace_seconds: float = Field(
        1.0, ge=0, description="What an executor has to unwind in when the runner stops."
    )
    cancel_grace_seconds: float = Field(
        1.25,
        ge=0,
        description="What an executor has to unwind in when cancelled; then its process is ended.",
    )
    idle_seconds: float = Field(60.0, ge=0, description="A runner without work exits after this.")
    max_lost_attempts: int = Field(
        3, ge=1, description="An operation fails when its runner has died this often."
    )
    concurrency: int = Field(
        1, ge=1, le=64, description="Operations that one runner executes at once."
    )
    nice: int = Field(10, ge=0, le=19, description="How far the runner's priority is lowered.")
    threads: int = Field(
        default_factory=spare_cores,
        ge=1,
        description="Threads of a runner's numeric libraries; default: the cores less one.",
    )
    restart_seconds: float = Field(
        0.5,
        gt=0,
        description="Pause before a dead runner is replaced; doubles while it dies at once.",
    )
    max_restart_seconds: float = Field(30.0, gt=0, description="The longest such pause.")
