"""The models in memory: loaded at first use, once, and dropped when memory is short.

The hot path, ``try_get``, resolves the name and looks it up: no lock, no await. Everything slow
happens in loading threads. An alias that moves to a version that does not load keeps serving the
version it served before, and the failure is there to be seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeAlias, TypeVar

from stillroom_registry.errors import Internal, NotFound, StillroomError
from stillroom_registry.names import ModelRef
from stillroom_server.inference.embedder import EmbedderInfo
from stillroom_server.inference.embedders import Embedder
from stillroom_server.inference.memory import Memory

RETRY_SECONDS = 30.0
_MAX_REMEMBERED = 4096  # references and failures
_log = logging.getLogger(__name__)


class Version(Protocol):
    """What a reference resolves to; ``name`` is like ``models/m/versions/3``."""

    @property
    def name(self) -> str: ...


class Served(Protocol):
    """What a version becomes in memory: an embedder or a classifier."""

    @property
    def info(self) -> EmbedderInfo: ...


V = TypeVar("V", bound=Version)
S = TypeVar("S", bound=Served)


@dataclass(slots=True, eq=False)
class LoadedModel(Generic[S]):
    """A version in memory. ``last_used`` is in seconds of the pool's clock; ``model`` is the name
    without the version."""

    name: str
    served: S
    loaded_at: datetime
    load_seconds: float
    last_used: float
    model: str = ""

    def __post_init__(self) -> None:
        self.model = ModelRef.parse(self.name).model

    @property
    def info(self) -> EmbedderInfo:
        return self.served.info

    @property
    def nbytes(self) -> int:
        return self.served.info.memory_bytes


LoadedStudent: TypeAlias = LoadedModel[Embedder]


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """A version that did not load; tried again by the first request after ``retry_at``."""

    name: str
    error: StillroomError
    failed_at: datetime
    retry_at: float


class ModelPool(Generic[V, S]):
    """Loaded models of one kind by version name. Safe under threads and event loops at once.

    ``resolve`` turns a reference into a version in microseconds and raises NotFound or
    InvalidArgument; ``load`` turns a version into what serves it and may take seconds. When the
    models in ``memory``, which pools may share, exceed its budget, the least recently used go, save
    the newest; requests that still use them finish undisturbed.
    """

    def __init__(
        self,
        resolve: Callable[[str], V],
        load: Callable[[V], S],
        *,
        memory: Memory | None = None,
        retry_seconds: float = RETRY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._resolve = resolve
        self._load = load
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._now = now
        self._memory = memory or Memory()
        self._lock = self._memory.lock  # guards the writes to everything below
        self._loaded: dict[str, LoadedModel[S]] = {}
        self._memory.add(self._loaded)
        self._failures: dict[str, LoadFailure] = {}
        self._flights: dict[str, Future[LoadedModel[S]]] = {}
        # reference -> the version that last answered it, and its name
        self._served: dict[str, tuple[V, str]] = {}
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="stillroom-load")

    def try_get(self, ref: str) -> LoadedModel[S] | None:
        """Return the model that ``ref`` means if it is in memory, None if it must be loaded.

        Raises what ``resolve`` raises, and the error of a version that lately failed to load when
        nothing served ``ref`` before it.
        """
        version = self._resolve(ref)
        served = self._served.get(ref)
        if served is not None and served[0] is version:  # so its name need not be made
            model = self._loaded.get(served[1])
            if model is not None:
                model.last_used = self._clock()
                return model
        return self._find(ref, version)

    async def get(self, ref: str) -> LoadedModel[S]:
        """Return the model that ``ref`` means, loading it first if need be.

        Cancelling a waiter leaves the load, and the other waiters, alone. Raises as ``try_get``.
        """
        version = self._resolve(ref)
        found = self._find(ref, version)
        if found is not None:
            return found
        waiter = asyncio.wrap_future(self._flight(version))
        waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
        with contextlib.suppress(StillroomError):
            return self._use(ref, version, await asyncio.shield(waiter))
        return self._fall_back(ref, version)

    def get_blocking(self, ref: str) -> LoadedModel[S]:
        """``get`` for threads without an event loop."""
        version = self._resolve(ref)
        found = self._find(ref, version)
        if found is not None:
            return found
        with contextlib.suppress(StillroomError):
            return self._use(ref, version, self._flight(version).result())
        return self._fall_back(ref, version)

    def loaded(self) -> list[LoadedModel[S]]:
        """The models in memory, by name."""
        with self._lock:
            return sorted(self._loaded.values(), key=lambda model: model.name)

    def failures(self) -> list[LoadFailure]:
        """The versions that did not load when last tried, by name."""
        with self._lock:
            return sorted(self._failures.values(), key=lambda failure: failure.name)

    @property
    def nbytes(self) -> int:
        """Bytes that the loaded models hold, about."""
        return sum(model.nbytes for model in self.loaded())

    def discard(self, name: str) -> bool:
        """Forget the version ``name``; say whether it was in memory."""
        with self._lock:
            self._failures.pop(name, None)
            return self._loaded.pop(name, None) is not None

    def prune(self) -> list[str]:
        """Drop the versions that no longer exist, failures too; return those that were loaded."""
        gone = []
        names = [model.name for model in self.loaded()]
        for name in (*names, *(failure.name for failure in self.failures())):
            try:
                self._resolve(name)
            except NotFound:
                if self.discard(name):
                    gone.append(name)
        return gone

    def close(self) -> None:
        """Wait for loads under way; later ones are refused."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _find(self, ref: str, version: V) -> LoadedModel[S] | None:
        model = self._loaded.get(version.name)
        if model is not None:
            return self._use(ref, version, model)
        failure = self._failures.get(version.name)
        if failure is not None and self._clock() < failure.retry_at:
            return self._fall_back(ref, version)
        return None

    def _use(self, ref: str, version: V, model: LoadedModel[S]) -> LoadedModel[S]:
        model.last_used = self._clock()
        with self._lock:
            if len(self._served) >= _MAX_REMEMBERED:
                self._served.clear()
            self._served[ref] = version, model.name
        return model

    def _fall_back(self, ref: str, version: V) -> LoadedModel[S]:
        """What served ``ref`` before ``version``, which did not load; else its error."""
        served = self._served.get(ref)
        before = self._loaded.get(served[1]) if served is not None else None
        if before is not None:
            before.last_used = self._clock()
            return before
        failure = self._failures.get(version.name)
        if failure is None:  # discarded since; the next call tries again
            raise Internal(f"{version.name} did not load.", reason="MODEL_LOAD_FAILED")
        # A copy: raising one object in several tasks would pile up their tracebacks.
        raise copy.copy(failure.error) from failure.error

    def _flight(self, version: V) -> Future[LoadedModel[S]]:
        """The load of ``version`` under way, started if there is none."""
        with self._lock:
            flight = self._flights.get(version.name)
            if flight is None:
                flight = self._threads.submit(self._load_one, version)
                self._flights[version.name] = flight
            return flight

    def _load_one(self, version: V) -> LoadedModel[S]:
        name = version.name
        present = self._loaded.get(name)  # loaded between a caller's look and its flight
        start = self._clock()
        try:
            served = present.served if present else self._load(version)
        except BaseException as error:  # a panic of compiled code is no Exception
            failure = LoadFailure(
                name, _domain_error(name, error), self._now(), self._clock() + self._retry_seconds
            )
            with self._lock:
                if len(self._failures) >= _MAX_REMEMBERED:
                    self._failures.clear()
                self._failures[name] = failure
                self._flights.pop(name, None)
            _log.error(
                "%s does not load (%s): %s; references keep the version that served them before,"
                " and it is tried again in %.0f s",
                name,
                failure.error.reason,
                failure.error.message,
                self._retry_seconds,
            )
            raise failure.error from error
        end = self._clock()
        model = present or LoadedModel(name, served, self._now(), end - start, end)
        with self._lock:
            self._loaded[name] = model
            self._failures.pop(name, None)
            self._flights.pop(name, None)
            self._memory.make_room(model)
        return model


def _domain_error(name: str, error: BaseException) -> StillroomError:
    if isinstance(error, StillroomError):
        return error
    return Internal(
        f"{name} did not load: {error!r}.", reason="MODEL_LOAD_FAILED", metadata={"model": name}
    )
