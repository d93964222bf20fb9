"""Who computes when: so many threads for all transformer students together, a turn for each.

A request is cut into batches. It has at most one batch a thread in the queue and puts the next
behind those of others, so a large request never keeps a small one waiting for more than a batch of
each; alone, it has all threads. A graph runs on the thread that calls it, so however many models
and requests there are, never more threads compute than there are cores.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, Protocol, TypeVar

from stillroom_registry.errors import ResourceExhausted

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
Batch = Callable[[], None]

MAX_SECONDS_AHEAD = 10.0
_LEAST_RETRY = 0.1


class Work(Protocol[R_co]):
    """One request; its methods are called by threads of the lanes, ``prepare`` first, ``finish``
    last, batches at the same time. An error of any of them is the request's."""

    def prepare(self) -> Sequence[Batch]: ...
    def finish(self) -> R_co: ...


class Lanes:
    """Runs work on ``threads`` (None: one a core); safe under any threads and event loops."""

    def __init__(
        self,
        threads: int | None = None,
        max_seconds: float = MAX_SECONDS_AHEAD,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.threads = threads or len(os.sched_getaffinity(0))
        self._max_seconds = max_seconds
        self._clock = clock
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="stillroom-encode")
        self._lock = threading.Lock()
        self._ahead = 0.0

    @property
    def seconds_ahead(self) -> float:
        """What the work in flight takes, as far as is known."""
        return self._ahead

    def admit(self, seconds_left: float | None = None) -> None:
        """Raise ResourceExhausted (STUDENT_TOO_BUSY) when the work ahead takes longer than is
        allowed or left."""
        allowed = self._max_seconds
        if seconds_left is not None:
            allowed = min(allowed, seconds_left)
        if self._ahead > allowed:
            raise ResourceExhausted(
                f"the work ahead takes about {self._ahead:.1f} s, {max(0.0, allowed):.1f} s are"
                " allowed (max_teacher_queue_seconds, or the deadline); try again shortly, or use"
                " EmbedStream, which waits",
                reason="STUDENT_TOO_BUSY",
                retry_after=max(_LEAST_RETRY, self._ahead - allowed),
                metadata={"seconds_ahead": f"{self._ahead:.3f}"},
            )

    def submit(self, work: Work[R], seconds: float = 0.0) -> Future[R]:
        """Start ``work``, which will take about ``seconds``.

        Cancelling the future ends it after the batches under way.
        """
        run = _Run(self, work)
        self._expect(seconds)
        run.future.add_done_callback(lambda _: self._expect(-seconds))
        self.put(run.start)
        return run.future

    def put(self, task: Callable[[], None]) -> None:
        """Queue a task that handles its own errors."""
        self._pool.submit(task)

    def _expect(self, seconds: float) -> None:
        with self._lock:
            self._ahead = max(0.0, self._ahead + seconds)


class _Run(Generic[R]):
    """The progress of one request."""

    def __init__(self, lanes: Lanes, work: Work[R]) -> None:
        self.future: Future[R] = Future()
        self._lanes = lanes
        self._work = work
        self._batches: deque[Batch] = deque()
        self._lock = threading.Lock()
        self._left = 0
        self._ended = False

    def start(self) -> None:
        if self.future.cancelled():
            return
        try:
            self._batches.extend(self._work.prepare())
        except BaseException as error:  # a panic of compiled code is no Exception
            self._fail(error)
            return
        self._left = len(self._batches)
        if not self._left:
            self._finish()
            return
        for _ in range(min(self._lanes.threads, self._left) - 1):
            self._lanes.put(self._step)
        self._step()

    def _step(self) -> None:
        if self._ended or self.future.cancelled():
            return
        try:
            batch = self._batches.popleft()
        except IndexError:  # another lane took the last one
            return
        try:
            batch()
        except BaseException as error:
            self._fail(error)
            return
        with self._lock:
            self._left -= 1
            done = not self._left
        if done:
            self._finish()
        elif self._batches:
            self._lanes.put(self._step)

    def _finish(self) -> None:
        try:
            result = self._work.finish()
        except BaseException as error:
            self._fail(error)
            return
        if self._end():
            self.future.set_result(result)

    def _fail(self, error: BaseException) -> None:
        if self._end():
            self.future.set_exception(error)

    def _end(self) -> bool:
        """Whether this is the first end, and somebody still waits for it."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
        return self.future.set_running_or_notify_cancel()
