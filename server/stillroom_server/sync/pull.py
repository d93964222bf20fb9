"""The operation that makes a version of a Hub repository: pinned to a commit, then imported.

The commit is on record before the first byte, so every attempt fetches the same; and the version,
the outbox and the operation's success are one transaction, so none is there without the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import Cancelled, Internal, NotFound, StillroomError
from stillroom_registry.names import ModelRef
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelVersion, system_clock
from stillroom_server.hub.failures import translated
from stillroom_server.imports.executor import ImportExecutor
from stillroom_server.operations.model import LeaseLost
from stillroom_server.sync.jobs import PullJob
from stillroom_server.sync.outbox import Outbox
from stillroom_server.sync.settings import SyncSettings
from stillroom_server.sync.values import Sync, SyncState

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from stillroom_server.operations.context import OperationContext

_FIELD = "source"
_VERSIONS = 1000  # the newest of a model that are asked where they are from


class _Held(Exception):
    """Another operation made the same version a moment before."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class PullExecutor:
    """Executes {"name", "repo", "revision": null | text}.

    The result is {"model_version", "commit", "skipped_files", "notes"}; the last two are empty when
    the model has a version of that commit already, which is then the answer.
    """

    kind = "pull"
    phases = ImportExecutor.phases

    def __init__(
        self,
        settings: Mapping[str, Any] | SyncSettings,
        registry: Registry,
        *,
        clock: Callable[[], datetime] = system_clock,
    ) -> None:
        self._settings = (
            settings if isinstance(settings, SyncSettings) else SyncSettings.from_json(settings)
        )
        self._registry = registry
        self._imports = ImportExecutor(self._settings.imports, registry)
        self._clock = clock

    def run(self, request: Mapping[str, Any], context: OperationContext) -> Mapping[str, Any]:
        outbox = Outbox(self._registry.database, self._clock)
        job = PullJob.from_json(request)
        sync = job.sync(context.operation_id, self._settings.endpoint)
        with outbox.database.write() as connection:
            context.guard(connection)
            sync = outbox.begin(connection, sync)
        try:
            return self._pull(job, sync, outbox, context)
        except (Cancelled, LeaseLost):
            raise  # the operation tells
        except Exception as error:
            if isinstance(error, StillroomError) and (error.field or "").startswith("source."):
                error.field = _FIELD
            _note_failure(outbox, context, error)
            raise

    def _pull(
        self, job: PullJob, sync: Sync, outbox: Outbox, context: OperationContext
    ) -> Mapping[str, Any]:
        name, revision = job.name, job.revision
        context.progress("fetch", 0, 0, unit="bytes", message="asking for the commit")
        commit = sync.base or self._commit(sync.repo, revision)
        with outbox.database.write() as connection:
            context.guard(connection)
            outbox.change(connection, sync.operation, base=commit)
        if (held := self._held(outbox, sync, name, commit)) is not None:
            return _keep(outbox, context, held, commit)

        def finish(connection: Connection, result: Mapping[str, Any]) -> None:
            held = self._held_in(connection, outbox, sync, name, commit)
            if held is not None:
                raise _Held(held)
            _done(connection, outbox, context, {**result, "commit": commit})

        # Of the commit, whatever the revision means by now; the record says what was asked for.
        origin = {"hub": {"repo": sync.repo, "revision": revision, "commit": commit}}
        source = {"hub": {"repo": sync.repo, "revision": commit}}
        try:
            _, result = self._imports.bring(
                {"name": name, "source": source}, context, finish, marks={"origin": origin}
            )
        except _Held as error:
            return _keep(outbox, context, error.name, commit)
        return {**result, "commit": commit}

    def _commit(self, repo: str, revision: str | None) -> str:
        """The commit that the revision names now."""
        api = self._settings.access().api(repo)
        try:
            return str(api.model_info(repo, revision=revision).sha)
        except Exception as error:
            raise translated(error, repo, revision, kind="model", field=_FIELD) from error

    def _held(self, outbox: Outbox, sync: Sync, name: str, commit: str) -> str | None:
        """The name of the model's version that holds the commit already, if there is one."""
        with outbox.database.read() as connection:
            held = self._held_in(connection, outbox, sync, name, commit)
        if held is not None:
            return held
        try:
            versions = self._registry.list_versions(name, _VERSIONS).items
        except NotFound:
            return None
        return next((v.name for v in versions if _is_from(v, sync.repo, commit)), None)

    def _held_in(
        self, connection: Connection, outbox: Outbox, sync: Sync, name: str, commit: str
    ) -> str | None:
        for number in outbox.holding(connection, name, sync.endpoint, sync.repo, commit):
            try:
                return self._registry.get_version(name, number).name
            except NotFound:
                continue  # deleted since
        return None


def _keep(outbox: Outbox, context: OperationContext, name: str, commit: str) -> Mapping[str, Any]:
    """The end of a pull of what is here already."""
    result = {"model_version": name, "commit": commit, "skipped_files": [], "notes": []}
    with outbox.database.write() as connection:
        _done(connection, outbox, context, result)
    return result


def _done(
    connection: Connection, outbox: Outbox, context: OperationContext, result: Mapping[str, Any]
) -> None:
    ref = ModelRef.parse(str(result["model_version"]))
    outbox.change(
        connection,
        context.operation_id,
        state=SyncState.DONE,
        version=ref.version,
        commit=result["commit"],
        reason="",
        message="",
    )
    context.succeed(connection, result)


def _note_failure(outbox: Outbox, context: OperationContext, error: Exception) -> None:
    told = error if isinstance(error, StillroomError) else Internal("unexpected")
    # Should this fail, the operation tells; the first error is the one to raise.
    with contextlib.suppress(StillroomError), outbox.database.write() as connection:
        context.guard(connection)
        outbox.change(
            connection,
            context.operation_id,
            state=SyncState.FAILED,
            reason=told.reason,
            message=told.message,
        )


def _is_from(version: ModelVersion, repo: str, commit: str) -> bool:
    """Whether the version was imported from that commit."""
    origin = version.metadata.get("origin")
    hub = origin.get("hub") if isinstance(origin, dict) else None
    return isinstance(hub, dict) and (hub.get("repo"), hub.get("commit")) == (repo, commit)
