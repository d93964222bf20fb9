"""The ledger as the observer of operations: it measures them, and closes their entries."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from stillroom_registry.errors import InvalidArgument
from stillroom_registry.names import ModelRef
from stillroom_registry.schema import models, versions
from stillroom_server.cost.ledger.counters import files_bytes
from stillroom_server.cost.ledger.ledger import Ledger
from stillroom_server.cost.ledger.meter import Meter
from stillroom_server.operations.model import Json
from stillroom_server.operations.observer import AttemptMeter, Ended, NoMeter

_log = logging.getLogger(__name__)


class LedgerObserver:
    """Keeps ``ledger`` of what operations take.

    ``growing``: folders outside of workspaces that operations fill, such as caches; how much they
    grow counts as their disk. What an attempt has taken is kept every ``note_seconds``, so a kill
    loses about as much. In the front process nothing is measured, but ends are seen.
    """

    def __init__(
        self,
        ledger: Ledger,
        growing: Sequence[Path] = (),
        *,
        note_seconds: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
        make_meter: Callable[[Callable[[], int]], Meter] = Meter,
    ) -> None:
        self._ledger = ledger
        self._growing = tuple(growing)
        self._note_seconds = note_seconds
        self._clock = clock
        self._make_meter = make_meter
        self._meters: dict[tuple[str, int], _Measured] = {}
        self._lock = threading.Lock()

    def begin(self, operation_id: str, attempt: int, workspace: Path) -> AttemptMeter:
        """An attempt begins in this process."""
        try:
            before = files_bytes(self._growing)
            meter = self._make_meter(partial(self._disk, workspace, before))
        except Exception:
            _log.exception("operation %s will not be measured", operation_id)
            return NoMeter()
        key = operation_id, attempt
        with self._lock:
            self._meters[key] = _Measured(meter)
        return _OfAttempt(meter, partial(self._forget, key))

    def note(
        self, connection: sa.Connection, operation_id: str, attempt: int, *, last: bool
    ) -> None:
        """Keep what the attempt has taken so far, if it is time to."""
        with self._lock:
            measured = self._meters.get((operation_id, attempt))
        now = self._clock()
        if measured is None or not (last or now >= measured.next_note):
            return
        measured.next_note = now + self._note_seconds
        with _harmless(connection, operation_id):
            self._ledger.note(connection, operation_id, attempt, measured.meter.tally())

    def ended(self, connection: sa.Connection, ended: Ended) -> None:
        """Close the entry; of what was never executed there is none."""
        with _harmless(connection, ended.operation_id):
            self._ledger.close(
                connection, ended, result_bytes=_result_bytes(connection, ended.result or {})
            )

    def _disk(self, workspace: Path, before: int) -> int:
        growth = files_bytes(self._growing) - before
        return files_bytes([workspace]) + max(0, growth)

    def _forget(self, key: tuple[str, int]) -> None:
        with self._lock:
            self._meters.pop(key, None)


@dataclass
class _Measured:
    """``next_note``: when it is time to keep what was taken, of the clock's seconds."""

    meter: Meter
    next_note: float = -math.inf


class _OfAttempt:
    """A meter whose failures are nobody's but the log's."""

    def __init__(self, meter: Meter, forget: Callable[[], None]) -> None:
        self._meter = meter
        self._forget = forget
        self._failed = False
        self._phase = ""

    def phase(self, name: str) -> None:
        if name == self._phase:
            return
        self._phase = name
        with self._guard():
            self._meter.phase(name)

    def moved(self, network_bytes: int) -> None:
        with self._guard():
            self._meter.moved(network_bytes)

    def sample(self) -> None:
        with self._guard():
            self._meter.sample()

    def end(self) -> None:
        self._meter.end()
        self._forget()

    @contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            if not self._failed:  # once says it
                self._failed = True
                _log.exception("an operation cannot be measured")


@contextmanager
def _harmless(connection: sa.Connection, operation_id: str) -> Iterator[None]:
    """What fails inside is undone and logged, for the operation matters more than its entry.

    Except a database that cannot be written: then the whole transaction is lost, and its owner
    waits and tries again.
    """
    part = connection.begin_nested()
    try:
        yield
        part.commit()
    except OperationalError:
        raise  # the part goes with the whole
    except Exception:
        part.rollback()
        _log.exception("the ledger cannot keep operation %s", operation_id)


def _result_bytes(connection: sa.Connection, result: Json) -> int:
    """Size of the version that an operation has published, 0 if none."""
    name = result.get("model_version")
    if not isinstance(name, str):
        return 0
    with suppress(InvalidArgument):
        ref = ModelRef.parse(name)
        size = connection.execute(
            sa.select(versions.c.size)
            .join(models, models.c.id == versions.c.model_id)
            .where(models.c.name == ref.model, versions.c.version == ref.version)
        ).scalar_one_or_none()
        return int(size or 0)
    return 0
