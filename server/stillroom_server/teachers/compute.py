"""The one thread that computes: takes batches from the queue and ends the requests they complete.

A request leaves on every way out: computed, failed, expired or cancelled. What a batch shares is
only the forward pass; when one fails, its requests are computed apart, so that only those at fault
get the error.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from stillroom_registry.errors import DeadlineExceeded, Internal, StillroomError, Unavailable
from stillroom_server.teachers.job import Job, Vectors
from stillroom_server.teachers.lanes import Text
from stillroom_server.teachers.queue import Batch, WorkQueue
from stillroom_server.teachers.values import BatchRecord

_log = logging.getLogger(__name__)
_MAX_RECORDS = 4096


class Computer:
    """Owns the queue; ``submit`` and ``cancel`` may be called by any thread."""

    def __init__(self, queue: WorkQueue, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._clock = clock
        self._changed = threading.Condition()
        self._stopped = False
        self._records: deque[BatchRecord] = deque(maxlen=_MAX_RECORDS)
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the batch under way; what waits gets Unavailable."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()
        with self._changed:
            left = self._queue.clear()
        _end(left, _stopping)

    def submit(self, job: Job) -> None:
        """Queues a job; one without a token ends at once, with vectors of zeros."""
        if not job.pending:
            job.on_end(None)
            return
        with self._changed:
            if not self._stopped:
                self._queue.add(job, self._clock())
                self._changed.notify()
                return
        job.on_end(_stopping(job))

    def cancel(self, job: Job) -> None:
        """Forgets a job; its ``on_end`` is not called any more."""
        with self._changed:
            self._queue.remove(job)

    @property
    def requests(self) -> int:
        """Jobs that wait or are in a batch."""
        with self._changed:
            return len(self._queue)

    def take_records(self) -> list[BatchRecord]:
        """The batches since the last call, oldest first."""
        with self._changed:
            records = list(self._records)
            self._records.clear()
        return records

    def step(self) -> bool:
        """Expires what is late and computes one batch; says whether there was one."""
        with self._changed:
            expired = self._queue.expire(self._clock())
            batch = self._queue.next_batch(self._clock())
        _end(expired, _too_late)
        if batch is None:
            return False
        start = self._clock()
        failed = self._compute(batch)
        seconds = self._clock() - start
        with self._changed:
            for job in failed:
                self._queue.remove(job)
            done = self._queue.finish(batch, seconds)
            self._records.append(batch.record(seconds))
        _end(failed, lambda job: failed[job])
        _end(done, lambda _: None)
        return True

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._stopped and not self._queue.waiting:
                    self._changed.wait()
                if self._stopped:
                    return
            self.step()

    def _compute(self, batch: Batch) -> dict[Job, StillroomError]:
        """Fills the vectors of the batch's texts; returns the jobs for which that failed."""
        try:
            _store(batch.texts, batch.model.forward(batch.rows(), batch.skip))
            return {}
        except Exception as error:
            jobs = {job for job, _ in batch.texts}
            if len(jobs) == 1:
                return {jobs.pop(): _domain_error(error)}
            _log.warning("a batch failed (%s); computing its requests apart", error)
        failed: dict[Job, StillroomError] = {}
        ordered = sorted(batch.texts, key=lambda text: id(text[0]))
        for job, group in groupby(ordered, key=lambda text: text[0]):
            texts = list(group)
            try:
                rows = [job.rows.row(index) for _, index in texts]
                _store(texts, batch.model.forward(rows, batch.skip))
            except Exception as error:
                failed[job] = _domain_error(error)
        return failed


def _store(texts: Sequence[Text], vectors: Vectors) -> None:
    for (job, index), vector in zip(texts, vectors, strict=True):
        job.vectors[index] = vector


def _end(jobs: Iterable[Job], error_of: Callable[[Job], StillroomError | None]) -> None:
    for job in jobs:
        job.on_end(error_of(job))


def _stopping(_: Job) -> StillroomError:
    return Unavailable("the teacher engine is stopping", reason="TEACHER_ENGINE_LOST")


def _too_late(_: Job) -> StillroomError:
    return DeadlineExceeded(
        "the deadline passed before all texts were computed; allow more time or send fewer texts",
        reason="DEADLINE_EXCEEDED",
    )


def _domain_error(error: Exception) -> StillroomError:
    if isinstance(error, StillroomError):
        return error
    _log.error("a batch failed", exc_info=error)
    return Internal(
        f"the teacher failed on these texts ({type(error).__name__}); the server's log says more",
        reason="TEACHER_FAILED",
    )
