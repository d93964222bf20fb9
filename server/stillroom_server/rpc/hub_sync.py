"""Pushes and pulls: from requests to operations with their place in the outbox, and back."""

from __future__ import annotations

from collections.abc import Collection

from google.longrunning import operations_pb2
from sqlalchemy import Connection

from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_registry.names import ModelRef, check_model_name
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelVersion
from stillroom_server.operations.model import Json, Operation
from stillroom_server.rpc import translate
from stillroom_server.rpc.drafts import COMPLETE, Draft
from stillroom_server.rpc.fields import at_field
from stillroom_server.rpc.launch import Launcher
from stillroom_server.sync.jobs import PullJob, PushJob
from stillroom_server.sync.outbox import Outbox
from stillroom_server.sync.settings import SyncSettings
from stillroom_server.sync.status import SyncStatus
from stillroom_server.sync.values import Direction, Sync, SyncState

PUSH, PULL = "push", "pull"
_MAX_REF_BYTES = 255
_UNSAFE = frozenset(" ~^:?*[\\")

DIRECTIONS = {
    Direction.PUSH: model_pb2.HUB_SYNC_DIRECTION_PUSH,
    Direction.PULL: model_pb2.HUB_SYNC_DIRECTION_PULL,
}
STATES = {
    SyncState.PENDING: model_pb2.HUB_SYNC_STATE_PENDING,
    SyncState.RUNNING: model_pb2.HUB_SYNC_STATE_RUNNING,
    SyncState.DONE: model_pb2.HUB_SYNC_STATE_DONE,
    SyncState.FAILED: model_pb2.HUB_SYNC_STATE_FAILED,
    SyncState.CONFLICT: model_pb2.HUB_SYNC_STATE_CONFLICT,
    SyncState.CANCELLED: model_pb2.HUB_SYNC_STATE_CANCELLED,
}


def push_response(result: Json) -> pb.PushModelVersionResponse:
    """The response of a finished push."""
    return pb.PushModelVersionResponse(
        commit=result["commit"], changed=result["changed"], url=result["url"]
    )


def pull_response(result: Json, registry: Registry) -> pb.PullModelResponse:
    """The response of a finished pull."""
    return pb.PullModelResponse(
        model_version=translate.published(result["model_version"], registry),
        commit=result["commit"],
    )


class HubSyncs:
    """Queues pushes and pulls, with all that can be known beforehand refused, and shows them."""

    def __init__(
        self, launcher: Launcher, settings: SyncSettings, outbox: Outbox, status: SyncStatus
    ) -> None:
        self._launcher = launcher
        self._settings = settings
        self._outbox = outbox
        self._status = status

    def push(self, request: pb.PushModelVersionRequest) -> operations_pb2.Operation:
        """Queues a push of the version that the name means now."""
        version, body = self._push(request)
        job = PushJob.from_json(body)

        def enqueue(connection: Connection, operation: Operation) -> None:
            sync = job.sync(operation.id, version, self._settings.endpoint)
            self._outbox.add(connection, sync)

        return self._launcher.queue(
            PUSH, body, request, target=version.model, in_transaction=enqueue
        )

    def pull(self, request: pb.PullModelRequest) -> operations_pb2.Operation:
        """Queues a pull."""
        body = self.pull_body(request)
        name = str(body["name"])
        job = PullJob.from_json(body)

        def enqueue(connection: Connection, operation: Operation) -> None:
            self._outbox.add(connection, job.sync(operation.id, self._settings.endpoint))

        return self._launcher.queue(PULL, body, request, target=name, in_transaction=enqueue)

    def push_body(self, request: pb.PushModelVersionRequest) -> Json:
        """The operation's request. Every error names its field."""
        return self._push(request)[1]

    def pull_body(self, request: pb.PullModelRequest, draft: Draft = COMPLETE) -> Json:
        """The operation's request. Every error names its field."""
        if not request.HasField("source"):
            raise InvalidArgument(
                "say which repository to pull", reason="SOURCE_REQUIRED", field="source"
            )
        translate.check_repo(request.source.repo, "source.repo")
        _check_ref(request.source.revision, "source.revision")
        if request.name or not draft.name:
            check_model_name(request.name, "name")
        revision = request.source.revision or None
        return {"name": request.name, "repo": request.source.repo, "revision": revision}

    def _push(self, request: pb.PushModelVersionRequest) -> tuple[ModelVersion, Json]:
        translate.check_repo(request.repo, "repo")
        _check_ref(request.branch, "branch")
        _check_ref(request.tag, "tag")
        self._settings.check_push(request.repo)
        with at_field("name"):
            version = self._launcher.registry.resolve(ModelRef.parse(request.name))
        return version, {
            "model_version": version.name,
            "repo": request.repo,
            "branch": request.branch,
            "tag": request.tag,
            "private": request.private_repo,
            "force": request.force,
        }

    def of_versions(
        self, model: str, versions: Collection[int]
    ) -> dict[int, list[model_pb2.HubSync]]:
        """What ``ModelVersion.hub_syncs`` shows, by version."""
        found = self._status.of_versions(model, versions)
        return {number: [_message(sync) for sync in syncs] for number, syncs in found.items()}


def _message(sync: Sync) -> model_pb2.HubSync:
    return model_pb2.HubSync(
        direction=DIRECTIONS[sync.direction],
        repo=sync.repo,
        branch=sync.branch,
        tag=sync.tag,
        commit=sync.commit or "",
        state=STATES[sync.state],
        reason=sync.reason,
        message=sync.message,
        operation=f"operations/{sync.operation}",
        create_time=translate.timestamp(sync.create_time),
        update_time=translate.timestamp(sync.update_time),
        endpoint=sync.endpoint,
    )


def _check_ref(text: str, field: str) -> None:
    """InvalidArgument on ``field`` for what git takes for no name of a branch or tag."""
    parts = text.split("/")
    bad_part = any(
        not part or part.startswith(".") or part.endswith((".", ".lock")) for part in parts
    )
    bad = (
        bad_part
        or len(text.encode("utf-8", "replace")) > _MAX_REF_BYTES
        or not text.isprintable()
        or not _UNSAFE.isdisjoint(text)
        or ".." in text
        or "@{" in text
        or text.startswith("-")
    )
    if text and bad:
        raise InvalidArgument(
            f"{text[:80]!r} is no name of a branch or tag", reason="BAD_REF", field=field
        )
