"""Texts that may share a batch, by their length."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import islice

from stillroom_server.teachers.job import Job

Text = tuple[Job, int]
"""A text of a job, by its index."""


class Lane:
    """Texts of one model and one ``skip``: buckets of equal length, each in order of arrival."""

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Text, None]] = {}
        self._lengths: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._lengths)

    def add(self, length: int, text: Text) -> None:
        bucket = self._buckets.get(length)
        if bucket is None:
            bucket = self._buckets[length] = {}
            insort(self._lengths, length)
        bucket[text] = None

    def remove(self, length: int, text: Text) -> None:
        bucket = self._buckets[length]
        del bucket[text]
        if not bucket:
            del self._buckets[length]
            del self._lengths[bisect_left(self._lengths, length)]

    def count(self, length: int) -> int:
        """How many texts have that length."""
        return len(self._buckets.get(length, ()))

    def first(self, length: int, number: int) -> list[Text]:
        """The ``number`` oldest texts of that length."""
        return list(islice(self._buckets[length], number))

    def from_down(self, length: int) -> Iterator[int]:
        """The lengths that occur, from ``length`` downwards. The lane must not change meanwhile."""
        for at in range(bisect_left(self._lengths, length + 1) - 1, -1, -1):
            yield self._lengths[at]

    def above(self, length: int) -> Iterator[int]:
        """The lengths that occur beyond ``length``, upwards."""
        yield from self._lengths[bisect_left(self._lengths, length + 1) :]
