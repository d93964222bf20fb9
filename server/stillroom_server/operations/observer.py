"""Who wants to know what operations take: a meter beside each attempt, a word at every end.

Operations count nothing themselves. An observer must not fail them: its methods raise nothing but
what a database raises that cannot be written, which undoes the transaction it was called in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from stillroom_server.operations.model import Json


class AttemptMeter(Protocol):
    """Measures one attempt, from when it was made. Every method is safe in any thread."""

    def phase(self, name: str) -> None:
        """The executor is in this phase; cheap, for tight loops."""

    def moved(self, network_bytes: int) -> None:
        """So many more bytes went over the network."""

    def sample(self) -> None:
        """Look at what is only to be seen now; called a few times a second."""

    def end(self) -> None:
        """The attempt is over, and what it took is on disk or void."""


@dataclass(frozen=True)
class Ended:
    """An operation that has come to its end; ``result`` is there when it succeeded.

    ``start_time`` is that of the first attempt, None for an operation that was never executed.
    """

    operation_id: str
    kind: str
    succeeded: bool
    attempts: int
    start_time: datetime | None
    end_time: datetime
    result: Json | None = None


class Observer(Protocol):
    """Told of the operations of one database, in the process where each thing happens."""

    def begin(self, operation_id: str, attempt: int, workspace: Path) -> AttemptMeter:
        """An attempt begins in this process."""

    def note(
        self, connection: sa.Connection, operation_id: str, attempt: int, *, last: bool
    ) -> None:
        """Within a transaction in which the attempt still owns its operation: keep what it has
        taken so far. ``last``: by this transaction the attempt ends."""

    def ended(self, connection: sa.Connection, ended: Ended) -> None:
        """Within the transaction that ends an operation, after the attempt's last ``note``."""


class NoMeter:
    """Measures nothing."""

    def phase(self, name: str) -> None: ...

    def moved(self, network_bytes: int) -> None: ...

    def sample(self) -> None: ...

    def end(self) -> None: ...


class NoObserver:
    """Wants to know nothing."""

    def begin(self, operation_id: str, attempt: int, workspace: Path) -> AttemptMeter:  # noqa: ARG002
        return NoMeter()

    def note(
        self, connection: sa.Connection, operation_id: str, attempt: int, *, last: bool
    ) -> None: ...

    def ended(self, connection: sa.Connection, ended: Ended) -> None: ...
