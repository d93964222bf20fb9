"""A kill, a full disk and a broken disk at every step towards the disk, of everything that writes.

Each step of a scenario is a failpoint before and one after. For each of them a process runs the
scenario and dies there, or gets the error there; then the registry is as before the scenario or as
after it, the scenario can be run (again), and a collection leaves nothing over.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from registry.whole import assert_nothing_leaks, every_version

from stillroom_registry import failpoints
from stillroom_registry.errors import FailedPrecondition, ResourceExhausted, StillroomError
from stillroom_registry.failpoints import InjectedError
from stillroom_registry.registry import ModelKind, Registry

STUDENT = ModelKind.STUDENT
Scenario = Callable[[Registry, Path], Any]


def collect(registry: Registry, source: Path) -> None:
    now = datetime.now(UTC) + timedelta(hours=2)
    registry.collect_garbage(grace=timedelta(0), now=now)


ERRORS: dict[str, tuple[type[StillroomError], set[str]]] = {
    "enospc": (ResourceExhausted, {"DISK_FULL"}),
    "edquot": (ResourceExhausted, {"DISK_FULL"}),
    "eio": (FailedPrecondition, {"STORAGE_FAILURE"}),
    "erofs": (FailedPrecondition, {"STORAGE_READ_ONLY", "DATABASE_NOT_WRITABLE"}),
}
SCENARIOS: dict[str, Scenario] = {
    "publish": lambda registry, source: registry.publish("m", STUDENT, source),
    "publish_new": lambda registry, source: registry.publish("new", STUDENT, source),
    "update": lambda registry, source: registry.update_model("m", description="new"),
    "set_alias": lambda registry, source: registry.set_alias("m", "production", 2),
    "roll_back": lambda registry, source: registry.roll_back_alias("m", "staging"),
    "delete_version": lambda registry, source: registry.delete_version("m", 1, force=True),
    "delete_model": lambda registry, source: registry.delete_model("m", force=True),
    "verify": lambda registry, source: registry.verify(registry.get_version("m", 2)),
    "folder": lambda registry, source: registry.folder(registry.get_version("m", 2)),
    "collect": collect,
}


def prepare(root: Path) -> None:
    """Versions 1 and 2 with aliases, a cached folder, and the remains of a third."""
    (root / "source").mkdir(parents=True)
    registry = Registry.open(root / "data")
    for number in (b"1", b"2", b"3"):
        for name in ("own", "model.onnx"):
            (root / "source" / name).write_bytes(name.encode() + number)
        registry.publish("m", STUDENT, root / "source")
    registry.folder(registry.get_version("m", 3))
    registry.delete_version("m", 3)
    for alias, version in (("production", 1), ("staging", 1), ("staging", 2)):
        registry.set_alias("m", alias, version)
    (root / "source" / "own").write_bytes(b"next")
    registry.close()


def state(registry: Registry) -> Any:
    versions = [(version.name, version.digest) for version in every_version(registry)]
    models = registry.list_models(1000).items
    return versions, [(m.name, m.description, dict(m.aliases)) for m in models]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("template")
    prepare(root)
    return root


@pytest.fixture
def copy(template: Path, tmp_path: Path) -> Callable[[], Path]:
    """Makes a registry like the template's, as often as it is called."""
    made = 0

    def another() -> Path:
        nonlocal made
        made += 1
        return Path(shutil.copytree(template, tmp_path / f"copy{made}", symlinks=True))

    return another


def points(root: Path, name: str) -> tuple[list[str], Any, Any]:
    """The failpoints that a scenario passes, and the states before and after it."""
    passed: list[str] = []
    registry = Registry.open(root / "data")
    before = state(registry)
    with failpoints.hooked(passed.append):
        SCENARIOS[name](registry, root / "source")
    after = state(registry)
    registry.close()
    assert passed, "a scenario that writes passes points"
    return passed, before, after


def run_armed(root: Path, name: str, armed: str) -> None:
    registry = Registry.open(root / "data")
    with failpoints.armed(armed):
        SCENARIOS[name](registry, root / "source")


def recovers(root: Path, name: str, before: Any, after: Any) -> Any:
    """That nothing is half done, nor in the way; the state that was found."""
    registry = Registry.open(root / "data")
    found = state(registry)
    assert found in (before, after)
    SCENARIOS[name](registry, root / "source") if found == before else None
    every_version(registry)
    folder = registry.folder(registry.resolve("m")) if registry.list_models().items else None
    assert folder is None or (folder / "model.onnx").read_bytes()
    collect(registry, root)
    assert_nothing_leaks(registry, root / "data")
    registry.close()
    return found


@pytest.fixture(scope="module")
def forks() -> Iterator[Any]:
    """Processes that begin with the registry imported: a kill each is then cheap."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["stillroom_registry.registry", "pytest"])
        yield context


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_kill_at_every_step(copy: Callable[[], Path], forks: Any, name: str) -> None:
    passed, before, after = points(copy(), name)
    states = []
    for nth, point in enumerate(passed, 1):
        root = copy()
        process = forks.Process(target=run_armed, args=(root, name, f"*#{nth}=kill"))
        process.start()
        process.join(120)
        assert process.exitcode == -signal.SIGKILL, point
        states.append(recovers(root, name, before, after))
        shutil.rmtree(root)
    # What was done stays done: once a step's effect is there, it is there at every later one.
    if before != after:
        assert states == sorted(states, key=lambda found: found == after)


@pytest.mark.slow
@pytest.mark.parametrize("action", ERRORS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_a_disk_error_at_every_step(copy: Callable[[], Path], name: str, action: str) -> None:
    passed, before, after = points(copy(), name)
    wanted, reasons = ERRORS[action]
    for nth in range(1, len(passed) + 1):
        root = copy()
        registry = Registry.open(root / "data")
        with failpoints.armed(f"*#{nth}={action}"), pytest.raises(wanted) as caught:
            SCENARIOS[name](registry, root / "source")
        assert caught.value.reason in reasons, passed[nth - 1]
        assert str(root) not in caught.value.message
        scratch = registry._scratch.folder
        assert list(scratch.iterdir()) == [], "an error leaves no unfinished files"
        registry.close()
        recovers(root, name, before, after)
        shutil.rmtree(root)


def test_the_environment_arms_a_process(copy: Callable[[], Path]) -> None:
    hook = failpoints._from({failpoints.VARIABLE: "commit:before#2=enospc"})
    assert hook is not None
    hook("commit:after")
    hook("commit:before")
    with pytest.raises(InjectedError):
        hook("commit:before")
    hook("commit:before")
    assert failpoints._from({}) is None


@pytest.mark.parametrize("text", ["", "kill", "a=b", "a#0=kill", "commit=kill=kill"])
def test_a_wrong_failpoint_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="STILLROOM_FAILPOINT"):
        failpoints._parse(text)


def test_unarmed_points_do_nothing() -> None:
    assert failpoints._hook is None
    with failpoints.step("anything"):
        pass
