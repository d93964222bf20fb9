"""Worker names, workspaces, backoff, errors and settings."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from stillroom_registry import errors
from stillroom_server.operations.backoff import Backoff
from stillroom_server.operations.executors import load_factory
from stillroom_server.operations.model import OperationError
from stillroom_server.operations.settings import OperationsSettings
from stillroom_server.operations.worker import WorkerName, current_worker, is_gone
from stillroom_server.operations.workspaces import Workspaces


def test_this_process_is_not_gone() -> None:
    name = str(current_worker())
    assert WorkerName.parse(name) == current_worker()
    assert current_worker().pid == os.getpid()
    assert not is_gone(name)


def test_a_killed_process_is_gone_even_as_a_zombie() -> None:
    code = (
        "from stillroom_server.operations.worker import current_worker as c;"
        "print(c(), flush=True); input()"
    )
    folders = [str(Path(__file__).parents[2] / name) for name in ("registry", "server")]
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": ":".join(folders)},
    )
    with process:
        assert process.stdout is not None
        name = process.stdout.readline().decode().strip()
        assert not is_gone(name)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(name)
        process.wait()
        assert is_gone(name)


def test_a_process_id_used_again_is_another_worker() -> None:
    current = current_worker()
    assert is_gone(str(WorkerName(current.place, current.pid, "1")))


@pytest.mark.parametrize(
    "name", ["", "worker-a", "a:b:c", "elsewhere/boot/ns:1:1", "elsewhere/boot/ns:99999999:1"]
)
def test_workers_elsewhere_are_not_judged(name: str) -> None:
    assert not is_gone(name)


def test_workspaces_last_until_they_are_removed(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path)
    assert workspaces.sweep(lambda: ()) == []
    for name in ("a", "b", "c"):
        folder = workspaces.make(name)
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text(name)
    assert (workspaces.make("a") / "deep" / "file").read_text() == "a"
    workspaces.remove("a")
    workspaces.remove("never-made")
    assert workspaces.sweep(lambda: {"b", "z"}) == ["c"]
    assert [folder.name for folder in (tmp_path / "operations").iterdir()] == ["b"]


def test_sweep_asks_for_the_unfinished_after_it_has_looked(tmp_path: Path) -> None:
    workspaces = Workspaces(tmp_path)
    workspaces.make("old")

    def unfinished() -> set[str]:
        workspaces.make("new")  # an operation that begins just now
        return set()

    assert workspaces.sweep(unfinished) == ["old"]
    assert (tmp_path / "operations" / "new").is_dir()


def test_backoff_doubles_while_runners_die_young() -> None:
    backoff = Backoff(0.5, 3.0)
    pauses = [backoff.pause]
    for _ in range(5):
        backoff.ended(-9, 0.1)
        pauses.append(backoff.pause)
    assert pauses == [0.0, 0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.ended(-9, 60.0)
    assert backoff.pause == 0.5
    backoff.ended(0, 0.1)
    assert backoff.pause == 0.0


@pytest.mark.parametrize(
    "error_class",
    [
        value
        for _, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, errors.StillroomError) and value is not errors.StillroomError
    ],
)
def test_every_domain_error_survives_the_database(error_class: type[errors.StillroomError]) -> None:
    error = error_class("why", reason="BECAUSE", field="f", metadata={"k": "v"})
    again = OperationError.from_error(error).to_error()
    assert type(again) is error_class
    assert vars(again) == vars(error)


def test_errors_of_unknown_classes_are_internal() -> None:
    assert OperationError.from_error(errors.StillroomError("bare")).code == "Internal"
    for code in ("NotThere", "Mapping", "StillroomError"):
        assert isinstance(OperationError(code, "R", "m").to_error(), errors.StillroomError)


@pytest.mark.parametrize("name", ["json:missing", "no_such_module:build", "", "json", ":build"])
def test_load_factory_names_what_is_wrong(name: str) -> None:
    with pytest.raises(errors.InvalidArgument) as caught:
        load_factory(name)
    assert caught.value.field == "executors"
    assert repr(name) in caught.value.message


@pytest.mark.parametrize(
    "bad", [{"lease_seconds": 0}, {"threads": 0}, {"nice": 20}, {"leese_seconds": 3}]
)
def test_settings_refuse_nonsense(bad: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        OperationsSettings(**bad)
