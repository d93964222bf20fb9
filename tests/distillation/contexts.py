"""What an executor is handed, in tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stillroom_registry.errors import Aborted, Cancelled
from stillroom_server.distillation.executor import DistillExecutor


class Context:
    """As ``OperationContext`` to an executor; fails where a test says so: ``cancel_in`` a phase,
    ``die_at`` the given checkpoint (from 1), as a kill would."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.attempt = 1
        self.results: list[Any] = []
        self.phases: list[str] = []
        self.expected: list[str] = []
        self.cancel_in: str | None = None
        self.lease_lost = False
        self.die_at = 0
        self.checkpoints = 0

    def expect(self, shares: Mapping[str, float]) -> None:
        assert set(shares) <= set(DistillExecutor.phases)
        self.expected = list(shares)

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        assert phase in self.expected
        self.phases.append(phase)

    def check_cancelled(self) -> None:
        if self.phases and self.phases[-1] == self.cancel_in:
            raise Cancelled("stop")

    def confirm(self) -> None:
        self.check_cancelled()

    def give_way(self) -> None:
        self.checkpoints += 1
        if self.checkpoints == self.die_at:
            raise Killed

    def succeed(self, connection: Any, result: Any) -> None:
        if self.lease_lost:
            raise Aborted("another attempt owns this", reason="LEASE_LOST")
        self.results.append(json.loads(json.dumps(result)))


class Killed(BaseException):
    """Nothing is cleaned up after it that a SIGKILL would leave."""
