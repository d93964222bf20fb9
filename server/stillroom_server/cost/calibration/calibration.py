"""The rates of this host: measured when first needed, kept, measured again when what they hold for
has changed."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from stillroom_registry.errors import StillroomError
from stillroom_registry.values import system_clock
from stillroom_server.cost.calibration.fingerprint import Host, fingerprint, this_host
from stillroom_server.cost.calibration.kept import Kept, Measured
from stillroom_server.cost.calibration.measuring import LIMIT_SECONDS, Found, Job, measure
from stillroom_server.cost.calibration.pace import Pace
from stillroom_server.cost.calibration.rates import Line, RateSet
from stillroom_server.cost.policy import Policy as Policy

_MOST_ATTEMPTS = 3  # in a row, to complete a measurement that did not end in its time
_REST = timedelta(minutes=10)  # until it is tried again, as a busy machine may be calm by then
_PAUSE_SECONDS = 0.05
_HOST = "host"
# What cores do not decide, and what was measured on all of them at once, as crowded as it will be.
_UNPACED = frozenset(
    {"memory", "write", "teacher.forward", "teacher.attention", "teacher.vocabulary"}
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """A model whose own rates are wanted. ``kind``: teacher, student or classifier; ``digest`` is
    its version's; ``folder`` is asked for only when it is measured."""

    kind: str
    digest: str
    folder: Callable[[], Path]


@dataclass(frozen=True)
class Work:
    """How work is done here. ``threads`` are a teacher's passes side by side, ``numeric_threads``
    those of numpy and tokenizers in the runner, ``nice`` its priority."""

    threads: int
    numeric_threads: int
    nice: int = 10
    device: str = "auto"
    dtype: str = "auto"


class Calibration:
    """Safe to use from any thread, beside other processes on the same ``data_dir``: only one
    measures at a time, and the others take what it found."""

    def __init__(
        self,
        data_dir: Path,
        work: Work,
        *,
        host: Callable[[], Host] = this_host,
        clock: Callable[[], datetime] = system_clock,
        run: Callable[[Job], Found] = measure,
        pause: Callable[[float], None] = time.sleep,
        pace: Callable[[Line], float] | None = None,
    ) -> None:
        self._cache = data_dir / "cache"
        self._folder = self._cache / "calibration"
        self._kept = Kept(self._folder)
        self._work = work
        self._host = host
        self._clock = clock
        self._run = run
        self._pause = pause
        self._pace = Pace().factor if pace is None else pace
        self._lock = threading.Lock()

    def rates(self, subject: Subject | None = None, policy: Policy = Policy.WHEN_NEEDED) -> RateSet:
        """Those of the host, and of ``subject``, at the pace of the moment. Blocks for about three
        seconds when it measures, else for some milliseconds. What could not be measured is not
        among them. With NEVER they are as they were measured."""
        wanted = self._wanted(subject)
        if policy is Policy.REFRESH or (policy is Policy.WHEN_NEEDED and self._lacking(wanted)):
            with self._alone():
                # Whoever had the lock may have measured it meanwhile.
                groups = list(wanted) if policy is Policy.REFRESH else self._lacking(wanted)
                if groups:
                    measured = self._measure(groups, wanted, subject)
                    return self._paced(self._set(wanted, fresh=measured))
        found = self._set(wanted)
        return found if policy is Policy.NEVER else self._paced(found)

    def _wanted(self, subject: Subject | None) -> dict[str, str]:
        """The fingerprint of each group."""
        host, settings = self._host(), self._settings()
        wanted = {_HOST: fingerprint(host, settings)}
        if subject is not None:
            model = f"{subject.kind} {subject.digest}"
            wanted[subject.kind] = fingerprint(host, settings, model)
        return wanted

    def _settings(self) -> dict[str, object]:
        work = self._work
        return {
            "threads": work.threads,
            "numeric_threads": work.numeric_threads,
            "device": work.device,
            "dtype": work.dtype,
        }

    def _lacking(self, wanted: Mapping[str, str]) -> list[str]:
        """The groups that are worth a measurement."""
        now = self._clock()
        return [group for group, key in wanted.items() if _worth(self._kept.get(key), now)]

    def _measure(
        self, groups: list[str], wanted: Mapping[str, str], subject: Subject | None
    ) -> bool:
        """Whether anything was found."""
        folder = None
        if subject is not None and subject.kind in groups:
            try:
                folder = subject.folder()
            except (StillroomError, OSError) as error:
                _log.warning("a model cannot be measured: %s", error)
                groups = [group for group in groups if group != subject.kind]
        if not groups:
            return False
        work = self._work
        job = Job(
            groups,
            scratch=self._folder,
            threads=work.threads,
            numeric_threads=work.numeric_threads,
            nice=work.nice,
            folder=folder,
            verdicts=self._cache / "verdicts",
            device=work.device,
            dtype=work.dtype,
        )
        now, found = self._clock(), self._run(job)
        for group in groups:
            lines = {line.name: line for line in found.lines.get(group, ())}
            self._keep(wanted[group], lines, now, complete=group in found.done)
        return any(found.lines.values())

    def _keep(self, key: str, lines: dict[str, Line], now: datetime, *, complete: bool) -> None:
        before = self._kept.get(key)
        if before is None or complete:
            self._kept.put(key, Measured(now, lines, complete, 1, now))
            return
        # Cut short: what it did not come to is as good as it was.
        oldest = now if set(before.lines) <= set(lines) else before.time
        merged = {**before.lines, **lines}
        attempts = before.attempts % _MOST_ATTEMPTS + 1
        self._kept.put(key, Measured(oldest, merged, before.complete, attempts, now))

    def _paced(self, found: RateSet) -> RateSet:
        """Slower or faster by as much as a core is now."""
        python = found.get("python")
        if python is None:
            return found
        factor = self._pace(python)
        lines = {
            name: line if name in _UNPACED else line.scaled(factor)
            for name, line in found.lines.items()
        }
        return replace(found, lines=lines)

    def _set(self, wanted: Mapping[str, str], *, fresh: bool = False) -> RateSet:
        found = [each for key in wanted.values() if (each := self._kept.get(key)) is not None]
        lines = {name: line for each in found for name, line in each.lines.items()}
        times = [each.time for each in found if each.lines]
        return RateSet(lines, list(wanted.values())[-1], min(times, default=None), fresh)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Among the threads of this process and other processes. A file system without locks, or a
        process that holds one for longer than a measurement lasts, is not waited for."""
        with self._lock, contextlib.ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context((self._folder / ".lock").open("wb"))
                for _ in range(round(2 * LIMIT_SECONDS / _PAUSE_SECONDS)):
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        self._pause(_PAUSE_SECONDS)
            except OSError as error:
                _log.warning("measuring without a lock: %s", error)
            yield


def _worth(measured: Measured | None, now: datetime) -> bool:
    if measured is None:
        return True
    rested = now - (measured.tried or measured.time) >= _REST
    return not measured.complete and (measured.attempts < _MOST_ATTEMPTS or rested)
