"""Forward passes of a teacher, with as many cores as may be used at the moment.

A pass that is spread over two threads may add in another order than on one, so its last bits would
tell how busy the machine was. Here every pass has one thread, and passes run side by side: however
many do, the vectors are the same. It is no slower: two products run beside each other where one was
cut in halves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

B = TypeVar("B")
P = ParamSpec("P")
R = TypeVar("R")
_LOOK_SECONDS = 0.1


class Passes:
    """Owns the threads: use it in a ``with`` block, from one thread. On anything but a CPU there is
    one pass at a time."""

    def __init__(self, device: str) -> None:
        self._on_cpu = device == "cpu"
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Passes:
        most = (os.cpu_count() or 1) if self._on_cpu else 1
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="pass")
        return self

    def __exit__(self, *_: object) -> None:
        import torch

        assert self._pool is not None
        self._pool.shutdown(wait=True, cancel_futures=True)
        # What the threads set for themselves is also what a new thread would begin with.
        torch.set_num_threads(torch.get_num_threads())

    def run(
        self,
        batches: Sequence[B],
        compute: Callable[[B], NDArray[np.float32]],
        check: Callable[[], None],
    ) -> Iterator[tuple[B, NDArray[np.float32]]]:
        """Each batch with what ``compute`` made of it, as they come. ``check`` is called ten times
        a second and may raise to stop; passes under way are waited for on leaving the block."""
        assert self._pool is not None
        waiting = list(batches)[::-1]
        running: dict[Future[NDArray[np.float32]], B] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._at_once():
                    batch = waiting.pop()
                    running[self._pool.submit(alone, compute, batch)] = batch
                finished, _ = wait(running, _LOOK_SECONDS, FIRST_COMPLETED)
                check()
                for future in finished:
                    yield running.pop(future), future.result()
        finally:
            for future in running:
                future.cancel()

    def _at_once(self) -> int:
        """The threads that this one may use now, which whoever limits it may change at any time."""
        import torch

        return max(1, torch.get_num_threads()) if self._on_cpu else 1


def alone(compute: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """``compute`` of these arguments, with one thread of torch's: this one."""
    import torch

    torch.get_num_threads()  # a thread's first question sets what any thread set last
    torch.set_num_threads(1)  # of this thread alone
    return compute(*args, **kwargs)
