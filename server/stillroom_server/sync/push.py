"""The operation that publishes a version on the Hub."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import Aborted, Cancelled, Internal, StillroomError
from stillroom_registry.registry import Registry
from stillroom_registry.values import system_clock
from stillroom_server.operations.model import LeaseLost
from stillroom_server.sync.jobs import PushJob
from stillroom_server.sync.outbox import Outbox
from stillroom_server.sync.pushing import Push
from stillroom_server.sync.settings import SyncSettings
from stillroom_server.sync.values import SyncState
from stillroom_server.sync.waiting import Wait, wait

if TYPE_CHECKING:
    from stillroom_server.operations.context import OperationContext


class PushExecutor:
    """Executes {"model_version": full name, "repo", "branch", "tag", "private", "force"}.

    The result is {"commit", "changed", "url"}.
    """

    kind = "push"
    phases = ("compare", "upload", "commit", "tag")

    def __init__(
        self,
        settings: Mapping[str, Any] | SyncSettings,
        registry: Registry,
        *,
        clock: Callable[[], datetime] = system_clock,
        wait: Wait = wait,
    ) -> None:
        self._settings = (
            settings if isinstance(settings, SyncSettings) else SyncSettings.from_json(settings)
        )
        self._registry = registry
        self._clock = clock
        self._wait = wait

    def run(self, request: Mapping[str, Any], context: OperationContext) -> Mapping[str, Any]:
        job = PushJob.from_json(request)
        outbox = Outbox(self._registry.database, self._clock)
        version = self._registry.resolve(job.version)
        sync = job.sync(context.operation_id, version, self._settings.endpoint)
        with outbox.database.write() as connection:
            context.guard(connection)
            sync = outbox.begin(connection, sync)
        try:
            self._settings.check_push(job.repo)
            push = Push(job, version, sync, outbox, self._settings, self._registry, context)
            return push.run(self._wait)
        except (Cancelled, LeaseLost):
            raise  # the operation tells
        except Exception as error:
            self._note_failure(outbox, context, error)
            raise

    def _note_failure(self, outbox: Outbox, context: OperationContext, error: Exception) -> None:
        told = error if isinstance(error, StillroomError) else Internal("unexpected")
        state = SyncState.CONFLICT if isinstance(error, Aborted) else SyncState.FAILED
        # Should this fail, the operation tells; the first error is the one to raise.
        with contextlib.suppress(StillroomError), outbox.database.write() as connection:
            context.guard(connection)
            outbox.change(
                connection,
                context.operation_id,
                state=state,
                reason=told.reason,
                message=told.message,
            )
