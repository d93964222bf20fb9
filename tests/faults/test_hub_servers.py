"""SIGKILL of a whole server, front and runner, at any moment of its pushes and pulls.

Another server on the same data directory goes on. ``STILLROOM_KILLS`` sets how often (default 4).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from distillation.export.tiny import write_tiny
from google.longrunning import operations_pb2
from hub.faults import Fault
from hub.room import REPO
from hub.running import use
from hub.server import Hub

from faults.ledger import check_download, models, versions, was_killed
from faults.processes import ServerProcess, until
from faults.test_hub_syncs import commits_by_operation
from faults.test_kills import check_nothing_leaked, wait_for
from stillroom.v1 import common_pb2
from stillroom.v1 import model_service_pb2 as pb
from stillroom_registry.registry import ModelKind, Registry

KILLS = int(os.environ.get("STILLROOM_KILLS", "4"))
FLAGS = ("--hub-push", "--hub-allow", "org/*")
_COMMIT = "POST /api/models/org/mini/commit/"
_REQUESTS = 24  # about as many as a push or a pull makes


@dataclass
class Sync:
    """A push or a pull, and its operation once the server has acknowledged it."""

    request: Any
    operation: str | None = None

    @property
    def is_push(self) -> bool:
        return isinstance(self.request, pb.PushModelVersionRequest)

    def send(self, server: ServerProcess) -> None:
        """Asks for it. The same request_id never makes a second operation."""
        method = server.models.PushModelVersion if self.is_push else server.models.PullModel
        name = method(self.request).name
        assert self.operation in (None, name), "the same request made two operations"
        self.operation = name


@dataclass
class History:
    """Everything that was asked for; what was acknowledged must come to its end."""

    choose: Random
    syncs: list[Sync] = field(default_factory=list)
    whole: set[str] = field(default_factory=set)  # versions that were downloaded and right

    def add(self, number: int) -> Sync:
        """One more, remembered before it is sent: it may arrive though no answer does."""
        request_id = str(uuid.UUID(int=self.choose.getrandbits(128)))
        if self.choose.random() < 0.4:
            source = common_pb2.HubSource(repo=REPO)
            name = self.choose.choice(["copy", "other"])
            request: Any = pb.PullModelRequest(name=name, source=source, request_id=request_id)
        else:
            # A version that was never pushed, so each is a commit of its own in whatever order.
            request = pb.PushModelVersionRequest(
                name=f"mini@{number + 2}", repo=REPO, tag=f"v{number}", request_id=request_id
            )
        self.syncs.append(Sync(request))
        return self.syncs[-1]

    def check(self, server: ServerProcess) -> None:
        """Nothing that was acknowledged is unknown, and no version is half there."""
        known = {operation.name for operation in operations(server)}
        for sync in self.syncs:
            assert sync.operation is None or sync.operation in known, "it was acknowledged"
            sync.send(server)
        for model in models(server):
            for version in versions(server, model):
                if version.name not in self.whole:
                    check_download(server, version)
                    self.whole.add(version.name)


def operations(server: ServerProcess) -> list[operations_pb2.Operation]:
    request = operations_pb2.ListOperationsRequest(page_size=1000)
    return list(server.operations.ListOperations(request).operations)


def is_due(hub: Hub, requests: int, server: ServerProcess, operation: str) -> bool:
    """Whether the Hub has had so many requests, or there will be no more of them."""
    if len(hub.requests) >= requests:
        return True
    found = server.operations.GetOperation(operations_pb2.GetOperationRequest(name=operation))
    return bool(found.done)


def kill(server: ServerProcess, choose: Random) -> None:
    """Both processes, whichever first."""
    runner = server.runner()
    victims = [server.process.pid, *([] if runner is None else [runner])]
    choose.shuffle(victims)
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)


def live_and_die(server: ServerProcess, hub: Hub, history: History, number: int) -> None:
    """Asks for one more, and is killed at some moment of it, or of what waited before it."""
    choose = history.choose
    if choose.random() < 0.3:
        hub.faults.plan(Fault(_COMMIT, status=500, late=True))
    start, moment = len(hub.requests), choose.randrange(_REQUESTS)
    sync = history.add(number)
    if choose.random() < 0.2:  # while the request itself is under way
        killer = threading.Timer(choose.uniform(0, 0.02), kill, (server, choose))
        killer.start()
        try:
            sync.send(server)
        except grpc.RpcError as error:
            if not was_killed(error):
                raise
        killer.join()
        return
    sync.send(server)
    assert sync.operation is not None
    until(partial(is_due, hub, start + moment, server, sync.operation))
    # The moment is to be any moment: this is no waiting for something.
    threading.Event().wait(choose.uniform(0, 0.05))
    kill(server, choose)


@contextlib.contextmanager
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub, the environment for it, and a data directory with a version for each push."""
    with Hub().running() as hub:
        use(hub, tmp_path, monkeypatch)
        registry = Registry.open(tmp_path / "data")
        for number in range(KILLS + 1):
            folder = tmp_path / f"student-{number}"
            write_tiny(folder, dimensions=4 + number)
            registry.publish("mini", ModelKind.STUDENT, folder)
        registry.close()
        yield hub


@pytest.mark.slow
@pytest.mark.timeout(900 + 120 * KILLS)
def test_a_killed_server_loses_nothing_and_commits_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = History(Random(KILLS))
    data, log = tmp_path / "data", tmp_path / "log"
    with place(tmp_path, monkeypatch) as hub:
        with ServerProcess(data, log, *FLAGS) as server:  # there is something to pull
            history.syncs.append(
                Sync(
                    pb.PushModelVersionRequest(
                        name="mini@1", repo=REPO, request_id=str(uuid.UUID(int=1))
                    )
                )
            )
            history.syncs[0].send(server)
            assert history.syncs[0].operation is not None
            assert not wait_for(server, history.syncs[0].operation).HasField("error")
        for number in range(KILLS):
            with ServerProcess(data, log, *FLAGS) as server:
                history.check(server)
                live_and_die(server, hub, history, number)
        hub.faults.clear()
        with ServerProcess(data, log, *FLAGS) as server:
            history.check(server)
            ended = {
                sync.operation: wait_for(server, str(sync.operation)) for sync in history.syncs
            }
            history.check(server)
            check_ends(server, hub, history, ended)
            assert server.stop() == 0
        until(lambda: server.runner() is None)
    check_nothing_leaked(data)
    assert "Traceback" not in log.read_text()


def check_ends(
    server: ServerProcess,
    hub: Hub,
    history: History,
    ended: dict[str | None, operations_pb2.Operation],
) -> None:
    """Each push that succeeded made its one commit and tag, each pull the one version of what it
    pulled; and what was given up made no more than that."""
    counts = commits_by_operation(hub)
    tags: dict[str, str] = {}
    pulled: dict[tuple[str, str], set[str]] = {}
    for sync in history.syncs:
        operation = ended[sync.operation]
        count = counts.pop(operation.name.removeprefix("operations/"), 0)
        assert count <= 1, "one push made two commits"
        if operation.HasField("error"):
            assert "ATTEMPTS_EXHAUSTED" in str(operation.error), operation.error
            continue
        if sync.is_push:
            pushed = pb.PushModelVersionResponse()
            assert operation.response.Unpack(pushed)
            assert (count, pushed.changed) == (1, True)
            if sync.request.tag:
                tags[sync.request.tag] = pushed.commit
        else:
            response = pb.PullModelResponse()
            assert operation.response.Unpack(response)
            key = sync.request.name, response.commit
            pulled.setdefault(key, set()).add(response.model_version.name)
    assert counts == {}, "a commit that nobody asked for"
    found = hub.store.repos["models", REPO].tags
    assert {tag: found.get(tag) for tag in tags} == tags
    assert all(len(names) == 1 for names in pulled.values())
    made = {name for names in pulled.values() for name in names}
    there = {v.name for model in models(server) for v in versions(server, model)}
    assert there == made | {f"models/mini/versions/{number + 1}" for number in range(KILLS + 1)}
