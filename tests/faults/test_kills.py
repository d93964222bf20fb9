"""SIGKILL at random moments of a server, its runner or both, while it imports, distills and trains.

``STILLROOM_KILLS`` sets how often (default 5).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import grpc
import pytest
from distillation import teachers
from google.longrunning import operations_pb2
from inference.students import write_student

from faults.ledger import ALIASED, RESPONSES, Ledger, models, versions, was_killed
from faults.processes import ServerProcess, until
from stillroom_registry.datadir import DataDirectory
from stillroom_registry.registry import Registry

KILLS = int(os.environ.get("STILLROOM_KILLS", "5"))
VICTIMS = ("front", "runner", "both")
LONGEST_LIFE = 5.0  # seconds: about as long as an import and a distillation take


def wait_for(server: ServerProcess, name: str) -> operations_pb2.Operation:
    """The operation when it has ended."""
    request = operations_pb2.WaitOperationRequest(name=name, timeout={"seconds": 240})
    operation: operations_pb2.Operation = server.operations.WaitOperation(request)
    assert operation.done
    return operation


def prepare(server: ServerProcess, ledger: Ledger, teacher: Path) -> None:
    """A teacher to distill, and a model to point an alias at; their operations are recorded."""
    ledger.imports["t"] = str(teacher)
    for name in ("t", ALIASED):
        ledger.launches.append(ledger.importing(name))
        ledger.launches[-1].operation = ledger.launches[-1].send(server)
    for launch in ledger.launches:
        assert launch.operation is not None
        assert not wait_for(server, launch.operation).HasField("error")
    del ledger.imports["t"]


def live_and_die(server: ServerProcess, ledger: Ledger, victim: str, seconds: float) -> None:
    """Writes until the front is dead; the runner dies before it, or with it, or is orphaned."""

    def kill() -> None:
        # The moment is to be any moment: this is no waiting for something.
        threading.Event().wait(seconds)
        runner = server.runner()
        if runner is not None and victim != "front":
            with contextlib.suppress(ProcessLookupError):
                os.kill(runner, signal.SIGKILL)
        if victim == "runner":
            threading.Event().wait(seconds / 2)
        server.process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        while True:
            ledger.write(server)
    except grpc.RpcError as error:
        if not was_killed(error):
            raise
    finally:
        killer.join()


def check_operations(server: ServerProcess, ledger: Ledger) -> None:
    """Every one ends; each that succeeded made one version, and no version came otherwise."""
    made = []
    for launch in ledger.launches:
        assert launch.operation is not None
        ended = wait_for(server, launch.operation)
        if ended.HasField("error"):
            assert "ATTEMPTS_EXHAUSTED" in str(ended.error), ended.error
            continue
        response = RESPONSES[launch.kind]()
        assert ended.response.Unpack(response)
        made.append(response.model_version.name)
    there = [v.name for model in models(server) for v in versions(server, model)]
    assert sorted(there) == sorted(made)
    listed = server.operations.ListOperations(operations_pb2.ListOperationsRequest(page_size=1000))
    assert {o.name for o in listed.operations} == {o.operation for o in ledger.launches}


def check_nothing_leaked(data: Path) -> None:
    with DataDirectory.open(data) as directory:
        registry = Registry.open(directory.path)
        registry.collect_garbage(grace=timedelta(0), now=datetime.now(UTC) + timedelta(hours=2))
        live = {
            file.digest
            for model in registry.list_models(1000).items
            for version in registry.list_versions(model.name, 1000).items
            for file in version.files
        }
        assert set(registry.blobs.digests()) == live
        registry.close()
    for folder in ("tmp", "operations"):
        assert list((data / folder).iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(900 + 120 * KILLS)
def test_what_was_acknowledged_survives_kills(tmp_path: Path) -> None:
    choose = Random(KILLS)
    root, data, log = tmp_path / "root", tmp_path / "data", tmp_path / "log"
    students = {name: str(write_student(root / name, seed=i)) for i, name in enumerate("ab")}
    ledger = Ledger(choose, students)
    flags = ("--allow-root", str(root))
    with ServerProcess(data, log, *flags) as server:
        prepare(server, ledger, teachers.make("bert", root / "teacher"))
        assert server.stop() == 0
    for number in range(KILLS):
        with ServerProcess(data, log, *flags) as server:
            ledger.check(server)
            ledger.launch(server)
            life = choose.uniform(0, LONGEST_LIFE)
            live_and_die(server, ledger, VICTIMS[number % len(VICTIMS)], life)
    with ServerProcess(data, log, *flags) as server:
        ledger.check(server)
        check_operations(server, ledger)
        ledger.check(server)
        assert server.stop() == 0
    until(lambda: server.runner() is None)
    check_nothing_leaked(data)
    assert ledger.acknowledged > KILLS
    assert "Traceback" not in log.read_text()
