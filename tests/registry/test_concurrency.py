"""Many publishers at once: whole versions, consecutive numbers, no lock error."""

from __future__ import annotations

import multiprocessing
import threading
from pathlib import Path
from typing import Any

from stillroom_registry.registry import ModelKind, Registry

PROCESSES, THREADS, EACH = 2, 6, 4  # eight writers


def publish_some(data_dir: Path, folder: Path, times: int) -> None:
    registry = Registry.open(data_dir)
    for _ in range(times):
        registry.publish("m", ModelKind.STUDENT, folder)
    registry.close()


def test_versions_are_consecutive_whoever_publishes(
    registry: Registry, make_folder: Any, tmp_path: Path
) -> None:
    folder = make_folder(a=b"same", b=b"for all")
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=publish_some, args=(tmp_path / "data", folder, EACH))
        for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    numbers: list[int] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            numbers.extend(
                registry.publish("m", ModelKind.STUDENT, folder).version for _ in range(EACH)
            )
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for worker in [*threads, *processes]:
        worker.join(120)
    assert errors == []
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert len(set(numbers)) == THREADS * EACH
    total = (THREADS + PROCESSES) * EACH
    found = registry.list_versions("m", 1000).items
    assert [version.version for version in found] == list(range(total, 0, -1))
    assert all(len(version.files) == 2 for version in found)


def test_a_reader_never_sees_half_a_version(registry: Registry, make_folder: Any) -> None:
    folder = make_folder({f"file{n}": bytes([n]) for n in range(20)})
    registry.publish("m", ModelKind.STUDENT, folder)
    done = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not done.is_set():
            version = registry.resolve("m")
            model = registry.get_model("m")
            if len(version.files) != 20 or (model.latest_version or 0) < version.version:
                wrong.append((version, model))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(6):
        latest = registry.publish("m", ModelKind.STUDENT, folder).version
        registry.set_alias("m", "default", latest)
        registry.delete_version("m", latest - 1, force=True)
    done.set()
    for reader in readers:
        reader.join(120)
    assert wrong == []
