"""What an installation without the libraries that train says of work that needs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inference.students import write_student

from rpc.asking import distill, embed
from rpc.estimating import Estimating, write_teacher
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind, system_clock
from stillroom_server.cost.looking.data import NOTHING
from stillroom_server.operations.store import OperationStore
from stillroom_server.rpc.cost_workloads import Asked, Workloads
from stillroom_server.rpc.launch import Launcher
from stillroom_server.rpc.operation_messages import OperationMessages
from stillroom_server.rpc.server_info import missing_libraries
from stillroom_server.security.paths import AllowedRoots
from stillroom_server.uploads.store import UploadStore


class Room:
    """Workloads on a student ``s`` and a teacher ``t``; ``missing`` libraries are a test's."""

    def __init__(self, folder: Path) -> None:
        self.missing: tuple[str, ...] = ()
        self.registry = Registry.open(folder / "data")
        self.registry.publish("s", ModelKind.STUDENT, write_student(folder / "s"))
        (folder / "t").mkdir()
        write_teacher(folder / "t")
        self.registry.publish("t", ModelKind.TEACHER, folder / "t")
        self.made = Estimating(self.registry, AllowedRoots([]))
        uploads = UploadStore(folder / "data" / "uploads", clock=system_clock, max_bytes=8 << 20)
        store = OperationStore(self.registry.database, system_clock)
        launcher = Launcher(
            self.registry,
            store,
            uploads,
            AllowedRoots([]),
            OperationMessages({}),
            self.made.estimates,
        )
        syncs: Any = None
        self.workloads = Workloads(launcher, syncs, 64, lambda: self.missing)

    def runnable(self, workload: Any) -> bool:
        estimate = self.workloads.estimate(workload, Asked(NOTHING, {}, None))
        assert estimate["runnable"] or "torch" in estimate["not_runnable_reason"]
        return bool(estimate["runnable"])


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    made.made.estimates.close()
    made.registry.close()


def test_what_cannot_run_here_is_estimated_and_says_so(room: Room) -> None:
    heavy = [distill(static={}), embed(model="t")]
    assert all(room.runnable(workload) for workload in heavy)
    room.missing = ("torch",)
    assert not any(room.runnable(workload) for workload in heavy)
    assert room.runnable(embed(model="s"))


def test_what_is_installed_is_not_missing() -> None:
    assert missing_libraries() == ()
