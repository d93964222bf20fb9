"""Estimates of operations before they are queued, and what the ledger is told of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeAlias, TypeVar

from sqlalchemy import Connection

from stillroom_registry.errors import Unimplemented
from stillroom_server.cost.policy import Policy
from stillroom_server.operations.model import Json, Operation

if TYPE_CHECKING:
    from stillroom_server.cost.looking.data import Described
    from stillroom_server.cost.looking.works import Works
    from stillroom_server.cost.workloads import Work

P = ParamSpec("P")
T = TypeVar("T")

_THREADS = 2

_log = logging.getLogger(__name__)

Estimate: TypeAlias = Mapping[str, Any]
"""A CostEstimate in JSON."""


class Estimator(Protocol):
    """See ``cost.estimator``."""

    def estimate(
        self,
        work: Work,
        environment: Json | None = None,
        *,
        policy: Policy = Policy.WHEN_NEEDED,
        budget: Json | None = None,
        field: str = "workload",
    ) -> Estimate: ...


class Expectations(Protocol):
    """See ``cost.ledger``."""

    def expect(
        self, connection: Connection, operation_id: str, kind: str, estimate: Estimate | None
    ) -> None: ...


class Estimates:
    """Of operations of any kind. With ``calibrate`` False it measures nothing unless asked to."""

    def __init__(
        self, works: Works, estimator: Estimator, ledger: Expectations, *, calibrate: bool = True
    ) -> None:
        self.works = works
        self._estimator = estimator
        self._ledger = ledger
        self._policy = Policy.WHEN_NEEDED if calibrate else Policy.NEVER
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="estimate")

    def of(
        self,
        kind: str,
        body: Json,
        *,
        described: Described | None = None,
        budget: Json | None = None,
        environment: Json | None = None,
        policy: Policy | None = None,
        field: str = "",
    ) -> Estimate:
        """What an operation would take; ``field`` is where its request stands. Raises what
        ``Works.of`` and the estimator raise, and Unimplemented for kinds that are not
        estimated."""
        said = () if described is None else (described,)
        work = self.works.of(kind, body, *said)
        if work is None:
            raise Unimplemented(f"operations of kind {kind} are not estimated")
        return self.of_work(
            work, budget=budget, environment=environment, policy=policy, field=field
        )

    def of_work(
        self,
        work: Work,
        *,
        budget: Json | None = None,
        environment: Json | None = None,
        policy: Policy | None = None,
        field: str = "",
    ) -> Estimate:
        """What ``work`` would take. Raises what the estimator raises."""
        return self._estimator.estimate(
            work, environment, policy=policy or self._policy, budget=budget, field=field
        )

    def quietly(self, kind: str, body: Json) -> Estimate | None:
        """The same, or None: an operation is never prevented by an estimate that nobody asked
        for."""
        try:
            work = self.works.of(kind, body)
            return None if work is None else self.of_work(work)
        except Exception:
            _log.warning("no estimate of an operation of kind %s", kind, exc_info=True)
            return None

    def expecting(self, estimate: Estimate | None) -> Callable[[Connection, Operation], None]:
        """Makes the ledger expect an operation, in the transaction that makes it; without an
        estimate it will know what the operation took, and nothing to compare it with."""

        def expect(connection: Connection, operation: Operation) -> None:
            try:
                self._ledger.expect(connection, operation.id, operation.kind, estimate)
            except ValueError:  # raised before anything is written
                _log.warning("the ledger refuses the estimate of %s", operation.id, exc_info=True)
                self._ledger.expect(connection, operation.id, operation.kind, None)

        return expect

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs ``function`` in one of a few threads of its own: an estimate may measure this host
        for seconds, and those who embed must not wait for a thread meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, partial(function, *args, **kwargs))

    def close(self) -> None:
        """Lets go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
