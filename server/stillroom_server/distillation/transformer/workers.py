"""Pieces of a step on several cores, with results that do not depend on how many there are.

torch splits one operation over threads and adds the parts up in another order for another number
of them (the gradients of LayerNorm's weights, for one). So every piece is computed by one thread,
pieces are cut the same for any number of cores, and sums are taken in their order. It is faster,
too: two small products run side by side where one was cut in halves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")
_POLL_SECONDS = 0.1


class Workers:
    """Runs pieces on as many threads as ``threads`` says at the time, at most ``most``.

    ``check`` is called while pieces run, and what it raises passes through at once.
    """

    def __init__(
        self, threads: Callable[[], int], check: Callable[[], None], most: int = 2
    ) -> None:
        self._threads = threads
        self._check = check
        self._most = most
        self._pool = ThreadPoolExecutor(most, initializer=torch.set_num_threads, initargs=(1,))

    def run(self, pieces: Sequence[Callable[[], T]]) -> list[T]:
        """The results, in order."""
        width = max(1, min(self._most, self._threads()))
        done: list[T] = []
        for start in range(0, len(pieces), width):
            futures = [self._pool.submit(piece) for piece in pieces[start : start + width]]
            self._await(futures)
            done += [future.result() for future in futures]
        return done

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _await(self, futures: Sequence[Future[T]]) -> None:
        waiting = True
        while waiting:
            self._check()
            _, left = wait(futures, timeout=_POLL_SECONDS, return_when=FIRST_EXCEPTION)
            waiting = bool(left) and not any(f.done() and f.exception() for f in futures)


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread an operation; restores what was set."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
