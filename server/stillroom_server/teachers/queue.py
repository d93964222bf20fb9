"""Which texts the engine computes next: decided without I/O, without threads and without a clock.

Requests are served by due time: when they arrived plus the time that their own tokens take. Equal
requests so come out in the order they came in, a small one need not wait for a huge one that came a
little earlier, and nobody starves: whoever arrives after a request's due time comes after it.

A batch begins with the longest waiting text of the request that is due first, and is filled with
texts of any request of nearly that length, padding charged: longer rows pad shorter ones, so a text
is left for a batch of its like when its padding would cost more than another forward pass.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import NamedTuple

from stillroom_server.teachers.job import Job, Model
from stillroom_server.teachers.lanes import Lane, Text
from stillroom_server.teachers.tokenizing import Ids
from stillroom_server.teachers.values import BatchRecord

_PADDING_SHARE = 0.1  # of a batch's padded tokens, always tolerated
_FIRST_GUESS = 1e-4  # seconds a token: a small teacher on a CPU
_WEIGHT_OF_NEWS = 0.2


class Batch(NamedTuple):
    """Texts for one forward pass."""

    model: Model
    skip: int
    texts: Sequence[Text]
    tokens: int
    padded_tokens: int

    def rows(self) -> list[Ids]:
        """The ids of each text, views."""
        return [job.rows.row(index) for job, index in self.texts]

    def record(self, seconds: float) -> BatchRecord:
        return BatchRecord(len(self.texts), self.tokens, self.padded_tokens, seconds)


class WorkQueue:
    """The requests that wait. Not safe under threads: its owner holds a lock.

    ``batch_tokens`` bounds the padded tokens of a batch (a single longer text is a batch all the
    same); ``pass_tokens`` is what one more forward pass costs, in tokens.
    """

    def __init__(self, batch_tokens: int, pass_tokens: int) -> None:
        self._batch_tokens = batch_tokens
        self._pass_tokens = pass_tokens
        self._jobs: set[Job] = set()
        self._waiting: list[tuple[float, int, Job]] = []  # by due time; those with pending texts
        self._lanes: dict[tuple[int, int], Lane] = {}
        self._places: dict[Job, tuple[float, int, Job]] = {}
        self._seconds_per_token: dict[str, float] = {}
        self._sequence = 0

    def __len__(self) -> int:
        """Requests that wait or are in a batch."""
        return len(self._jobs)

    @property
    def waiting(self) -> bool:
        """Whether a text waits for a batch."""
        return bool(self._waiting)

    def clear(self) -> list[Job]:
        """Removes and returns every job."""
        jobs = list(self._jobs)
        for job in jobs:
            self.remove(job)
        return jobs

    def add(self, job: Job, now: float) -> None:
        """Takes a job with at least one token in it."""
        speed = self._seconds_per_token.get(job.model.name, _FIRST_GUESS)
        job.arrival, job.due = now, now + job.tokens * speed
        self._sequence += 1
        place = (job.due, self._sequence, job)
        self._jobs.add(job)
        self._places[job] = place
        insort(self._waiting, place)
        for index in job.pending:
            self._lane(job, index).add(job.lengths[index], (job, index))

    def remove(self, job: Job) -> bool:
        """Forgets a job: its texts that are in no batch yet are never computed. Says whether it was
        here."""
        if job not in self._jobs:
            return False
        self._jobs.remove(job)
        for index in list(job.pending):
            self._take(job, index)
        return True

    def expire(self, now: float) -> list[Job]:
        """Removes and returns the jobs whose deadline has passed."""
        expired = [job for job in self._jobs if job.deadline is not None and job.deadline <= now]
        for job in expired:
            self.remove(job)
        return expired

    def next_batch(self, now: float) -> Batch | None:
        """The texts to compute now, taken from the queue; None when nothing waits."""
        if not self._waiting:
            return None
        leader = self._waiting[0][2]
        index = leader.longest()
        lane = self._lane(leader, index)
        self._take(leader, index)
        width, others = self._fill(lane, leader.lengths[index])
        for job, at in others:
            self._take(job, at)
        texts = [(leader, index), *others]
        for job, _ in texts:
            if job.started is None:
                job.started = now
        tokens = sum(job.lengths[at] for job, at in texts)
        return Batch(leader.model, leader.skips[index], texts, tokens, width * len(texts))

    def finish(self, batch: Batch, seconds: float) -> list[Job]:
        """Notes that ``batch`` is computed; returns the jobs that it completed, in due order."""
        speed = seconds / max(1, batch.padded_tokens)
        before = self._seconds_per_token.get(batch.model.name, speed)
        self._seconds_per_token[batch.model.name] = before + _WEIGHT_OF_NEWS * (speed - before)
        done = []
        for job, index in batch.texts:
            job.infer_seconds += seconds * job.lengths[index] / max(1, batch.tokens)
            job.unfinished -= 1
            if job.unfinished == 0 and job in self._jobs:
                self._jobs.remove(job)
                done.append(job)
        return sorted(done, key=lambda job: job.due)

    def _fill(self, lane: Lane, width: int) -> tuple[int, list[Text]]:
        """The texts to join one of ``width`` tokens, and the width of the longest."""
        number, padding, chosen = 1, 0, []
        for length in lane.from_down(width):
            room = self._batch_tokens // width - number
            fitting = min(room, lane.count(length))
            if length < width:
                spare = self._tolerated(width * number) - padding
                # Each further row adds its padding, and a tenth of its width to what is tolerated.
                cost = width - length - _PADDING_SHARE * width
                if cost > 0:
                    fitting = min(fitting, int(spare // cost) if spare > 0 else 0)
            if fitting <= 0:
                break
            chosen += lane.first(length, fitting)
            number += fitting
            padding += fitting * (width - length)
            if fitting < lane.count(length):
                break
        for length in lane.above(width):
            fitting = min(self._batch_tokens // length - number, lane.count(length))
            added = (length - width) * number
            if fitting <= 0 or padding + added > self._tolerated(length * (number + fitting)):
                break
            chosen += lane.first(length, fitting)
            number, padding, width = number + fitting, padding + added, length
            if fitting < lane.count(length):
                break
        return width, chosen

    def _tolerated(self, padded: int) -> float:
        return max(self._pass_tokens, _PADDING_SHARE * padded)

    def _lane(self, job: Job, index: int) -> Lane:
        return self._lanes.setdefault((id(job.model), job.skips[index]), Lane())

    def _take(self, job: Job, index: int) -> None:
        lane = self._lane(job, index)
        lane.remove(job.lengths[index], (job, index))
        if not lane:
            del self._lanes[id(job.model), job.skips[index]]
        job.pending.remove(index)
        if not job.pending:
            place = self._places.pop(job)
            del self._waiting[bisect_left(self._waiting, place)]
