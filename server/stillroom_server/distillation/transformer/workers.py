"""Pieces of work on several cores, with results that do not depend on how many there are.

torch splits one operation over threads and adds the parts up in another order for another number
of them. So every piece is computed by one thread, pieces are cut the same for any number of cores,
and sums are taken in their order. It is no slower: two products run side by side where one was cut
in halves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

from stillroom_server.distillation.passes import alone

T = TypeVar("T")
_POLL_SECONDS = 0.1


def allowed_threads() -> int:
    """As many as the calling thread's torch may use; whoever limits it may change that at any
    time."""
    return max(1, torch.get_num_threads())


class Workers:
    """Runs pieces on as many threads as ``threads`` says at the time, at most ``most``.

    ``check`` is called ten times a second while pieces run, and what it raises passes through at
    once. To be used from one thread, in a ``with`` block.
    """

    def __init__(
        self,
        check: Callable[[], None],
        threads: Callable[[], int] = allowed_threads,
        most: int = 2,
    ) -> None:
        self._check = check
        self._threads = threads
        self._most = most
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="transformer")

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        # What the threads set for themselves is also what a new thread would begin with.
        torch.set_num_threads(torch.get_num_threads())

    def run(self, pieces: Sequence[Callable[[], T]]) -> list[T]:
        """The results, in order."""
        done: list[T] = []
        while len(done) < len(pieces):
            width = max(1, min(self._most, self._threads()))
            turn = pieces[len(done) : len(done) + width]
            futures = [self._pool.submit(alone, piece) for piece in turn]
            self._await(futures)
            done += [future.result() for future in futures]
        return done

    def alone(self, piece: Callable[[], T]) -> T:
        """One piece by itself."""
        return self.run([piece])[0]

    def _await(self, futures: Sequence[Future[T]]) -> None:
        while True:
            self._check()
            _, left = wait(futures, timeout=_POLL_SECONDS, return_when=FIRST_EXCEPTION)
            if not left or any(f.done() and f.exception() is not None for f in futures):
                return
