"""A version as a folder: whole, shared, and built again when it is damaged."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from stillroom_registry.errors import DataLoss
from stillroom_registry.registry import ModelKind, ModelVersion, Registry

FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "onnx/model.onnx": b"graph",
    "onnx/model.onnx_data": b"external",
}


@pytest.fixture
def version(registry: Registry, make_folder: Any) -> ModelVersion:
    return registry.publish("m", ModelKind.STUDENT, make_folder(FILES))


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_the_folder_has_every_file(registry: Registry, version: ModelVersion) -> None:
    folder = registry.folder(version)
    assert contents(folder) == FILES
    assert registry.folder(version) == folder
    again = registry.publish("other", ModelKind.STUDENT, folder_copy(folder))
    assert registry.folder(again) == folder


def folder_copy(folder: Path) -> Path:
    return Path(shutil.copytree(folder, folder.parent.parent.parent / "copy"))


def test_onnx_files_and_their_data_really_lie_in_the_folder(
    registry: Registry, version: ModelVersion
) -> None:
    folder = registry.folder(version)
    for name in ("onnx/model.onnx", "onnx/model.onnx_data"):
        assert (folder / name).resolve() == folder.resolve() / name
    assert (folder / "model.safetensors").is_symlink()


def test_a_moved_data_directory_still_works(
    registry: Registry, version: ModelVersion, tmp_path: Path
) -> None:
    name = registry.folder(version).name
    shutil.copytree(tmp_path / "data", tmp_path / "moved", symlinks=True)
    moved = tmp_path / "moved" / "cache" / name
    assert contents(moved) == FILES
    assert (moved / "config.json").resolve().is_relative_to(tmp_path / "moved")


def test_a_damaged_folder_is_built_again(registry: Registry, version: ModelVersion) -> None:
    folder = registry.folder(version)
    (folder / "config.json").unlink()
    assert contents(registry.folder(version)) == FILES
    shutil.rmtree(folder / "onnx")
    assert contents(registry.folder(version)) == FILES


def test_lost_bytes_are_said(registry: Registry, version: ModelVersion) -> None:
    blob = registry.blobs.path(version.files[1].digest)
    blob.chmod(0o600)
    blob.write_bytes(b"cut")
    with pytest.raises(DataLoss) as caught:
        registry.folder(version)
    assert caught.value.reason == "BLOB_DAMAGED"
    blob.unlink()
    for read in (registry.folder, lambda v: registry.open_file(v, "model.safetensors")):
        with pytest.raises(DataLoss) as caught:
            read(version)
        assert caught.value.reason == "BLOB_MISSING"


def test_many_may_want_it_at_once(
    open_registry: Any, registry: Registry, version: ModelVersion
) -> None:
    openers = [registry, open_registry(), open_registry()]
    seen: list[dict[str, bytes]] = []
    barrier = threading.Barrier(9)

    def work(opener: Registry) -> None:
        barrier.wait(120)
        seen.append(contents(opener.folder(version)))

    threads = [threading.Thread(target=work, args=(openers[n % 3],)) for n in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert seen == [FILES] * 9
