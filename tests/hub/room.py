"""A registry beside a Hub: pushes and pulls as real operations, in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from distillation.export.tiny import write_tiny

from hub.server import TOKEN, Hub
from stillroom_registry.registry import ModelKind, ModelVersion, Registry
from stillroom_server.imports.settings import ImportSettings
from stillroom_server.operations.context import OperationContext
from stillroom_server.operations.control import AttemptControl
from stillroom_server.operations.model import Operation, OperationError
from stillroom_server.operations.observer import NoMeter
from stillroom_server.operations.store import OperationStore
from stillroom_server.security.secret import Secret
from stillroom_server.sync.jobs import PullJob, PushJob
from stillroom_server.sync.outbox import Outbox
from stillroom_server.sync.pull import PullExecutor
from stillroom_server.sync.push import PushExecutor
from stillroom_server.sync.settings import SyncSettings
from stillroom_server.sync.status import SyncStatus
from stillroom_server.sync.values import Sync

REPO = "org/mini"
ANSWER_SECONDS = 10.0  # longer than any true answer takes on a busy machine


class Killed(BaseException):
    """The process is gone: nothing more of the attempt happens."""


class Traffic(NoMeter):
    """The bytes that operations said went over the network."""

    def __init__(self) -> None:
        self.total = 0

    def moved(self, network_bytes: int) -> None:
        self.total += network_bytes


class Room:
    """Waiting takes no time here: ``waited`` has the seconds. ``die_waiting`` kills instead."""

    def __init__(self, root: Path, hub: Hub, *, token: str = TOKEN) -> None:
        self.root = root
        self.hub = hub
        self.registry = Registry.open(root / "data")
        self.time = datetime(2026, 5, 1, tzinfo=UTC)
        self.store = OperationStore(
            self.registry.database, self.clock, worker_is_gone=lambda _: True
        )
        self.outbox = Outbox(self.registry.database, self.clock)
        self.status = SyncStatus(self.outbox, self.store)
        self.waited: list[float] = []
        self.traffic = Traffic()
        self.die_waiting = False
        self.settings = SyncSettings(
            push=True,
            imports=ImportSettings(
                hub_endpoint=hub.url,
                hub_allow=("org/*", "tester/*"),
                hub_token=Secret(token),
                hub_timeout_seconds=ANSWER_SECONDS,
            ),
        )

    def clock(self) -> datetime:
        self.time += timedelta(milliseconds=1)
        return self.time

    def publish(self, name: str = "mini", **student: Any) -> ModelVersion:
        """One more version of a student, other with every ``dimensions``."""
        folder = self.root / f"student-{self.clock().timestamp()}"
        write_tiny(folder, **student)
        return self.registry.publish(name, ModelKind.STUDENT, folder)

    def change(self, version: ModelVersion, **files: bytes | None) -> ModelVersion:
        """The next version: the same files but for these, None: without."""
        folder = self.copied(version)
        for path, data in files.items():
            (folder / path).unlink(missing_ok=True)
            if data is not None:
                (folder / path).write_bytes(data)
        return self.registry.publish(version.model, version.kind, folder)

    def copied(self, version: ModelVersion) -> Path:
        """A folder of its own with the version's files."""
        folder = self.root / f"copied-{self.clock().timestamp()}"
        shutil.copytree(self.registry.folder(version), folder)
        return folder

    def queue_push(self, version: ModelVersion, **more: Any) -> str:
        body = {"model_version": version.name, "repo": REPO, **more}
        job = PushJob.from_json(body)
        endpoint = self.settings.endpoint
        return self.store.create(
            "push",
            body,
            target=version.model,
            in_transaction=lambda connection, operation: self.outbox.add(
                connection, job.sync(operation.id, version, endpoint)
            ),
        ).id

    def queue_pull(self, name: str = "pulled", **more: Any) -> str:
        body = {"name": name, "repo": REPO, **more}
        job = PullJob.from_json(body)
        return self.store.create(
            "pull",
            body,
            target=name,
            in_transaction=lambda connection, operation: self.outbox.add(
                connection, job.sync(operation.id, self.settings.endpoint)
            ),
        ).id

    def push(self, version: ModelVersion, **more: Any) -> Mapping[str, Any]:
        """Queued and executed; its result."""
        return self.run(self.queue_push(version, **more))

    def pull(self, name: str = "pulled", **more: Any) -> Mapping[str, Any]:
        return self.run(self.queue_pull(name, **more))

    def run(self, operation: str, on_check: Callable[[], None] = lambda: None) -> Mapping[str, Any]:
        """An attempt at the operation, and its end as a runner writes it."""
        claim = self.store.claim(f"worker-{self.clock().timestamp()}", 60)
        assert claim is not None
        assert claim.operation_id == operation
        control = AttemptControl(claim)
        control.meter = self.traffic
        executors: dict[str, Any] = {
            "push": PushExecutor(self.settings, self.registry, clock=self.clock, wait=self._wait),
            "pull": PullExecutor(self.settings, self.registry, clock=self.clock),
        }
        executor = executors[claim.operation.kind]
        workspace = self.root / "work" / operation
        workspace.mkdir(parents=True, exist_ok=True)
        context = OperationContext(
            self.store, control, workspace, executor.phases, on_check=on_check
        )
        try:
            result: Mapping[str, Any] = executor.run(claim.operation.request, context)
        except Exception as error:
            self.store.fail(claim, OperationError.from_error(error))  # type: ignore[arg-type]
            raise
        assert self.operation(operation).result == result
        return result

    def operation(self, operation: str) -> Operation:
        return self.store.get(operation)

    def sync(self, operation: str) -> Sync:
        """The outbox's row."""
        with self.registry.database.read() as connection:
            from stillroom_server.sync.outbox import _get

            return _get(connection, operation)

    def _wait(self, seconds: float, check: Callable[[], None]) -> None:
        check()
        self.waited.append(seconds)
        if self.die_waiting:
            raise Killed
