"""Which folders a request may name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from imports.folders import names, transformer

from stillroom_registry.errors import InvalidArgument, NotFound, PermissionDenied, StillroomError
from stillroom_server.imports.copying import copy_folder
from stillroom_server.imports.selection import Budget
from stillroom_server.security import paths
from stillroom_server.security.paths import AllowedRoots


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    transformer(tmp_path / "outside")
    transformer(tmp_path / "root/model")
    return tmp_path / "root"


def copied(root: Path, source: Path | str, *, files: int = 100, size: int = 10**6) -> set[str]:
    destination = root.parent / "copy"
    destination.mkdir()
    copy_folder(AllowedRoots([root]), str(source), destination, Budget(files, size), lambda n: None)
    return names(destination)


def test_a_folder_in_a_root_is_copied(root: Path) -> None:
    assert copied(root, root / "model") == names(root / "model")


@pytest.mark.parametrize("inner", [".", "model/..", "model/../model"])
def test_dots_are_resolved_before_the_check(root: Path, inner: str) -> None:
    assert AllowedRoots([root]).check(f"{root}/{inner}").is_relative_to(root)


@pytest.mark.parametrize(
    "path", ["{out}", "{root}/../outside", "{root}/link", "/", "{out}/none", "{root}x"]
)
def test_outside_is_denied_whether_it_exists_or_not(root: Path, path: str) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    with pytest.raises(PermissionDenied) as caught:
        AllowedRoots([root]).check(path.format(out=root.parent / "outside", root=root))
    assert (caught.value.reason, caught.value.field) == ("PATH_NOT_ALLOWED", "source.path")


def test_no_roots_allow_nothing(root: Path) -> None:
    with pytest.raises(PermissionDenied):
        AllowedRoots([]).check(root / "model")


@pytest.mark.parametrize(
    ("path", "error", "reason"),
    [
        ("model", InvalidArgument, "BAD_PATH"),
        ("", InvalidArgument, "BAD_PATH"),
        ("{root}/a\0b", InvalidArgument, "BAD_PATH"),
        ("{root}/none", NotFound, "PATH_NOT_FOUND"),
        ("{root}/model/config.json", InvalidArgument, "NOT_A_FOLDER"),
        ("{root}/loop", NotFound, "PATH_NOT_FOUND"),
    ],
)
def test_other_wrong_paths(root: Path, path: str, error: type[StillroomError], reason: str) -> None:
    (root / "loop").symlink_to(root / "gone")
    with pytest.raises(error) as caught:
        AllowedRoots([root]).check(path.format(root=root))
    assert caught.value.reason == reason


def test_a_link_inside_a_root_to_inside_is_followed(root: Path) -> None:
    (root / "link").symlink_to(root / "model")
    assert copied(root, root / "link") == names(root / "model")


@pytest.mark.parametrize("swapped", ["middle", "last"])
def test_a_link_swapped_in_after_the_check_leads_nowhere(
    root: Path, swapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is real while it is resolved and a link to another when it is opened."""
    (root / "a").mkdir()
    (root / "model").rename(root / "a/model")
    target = root / "a" if swapped == "middle" else root / "a/model"
    real_open, done = os.open, []

    def swap_then_open(path: str, flags: int, *rest: int, **named: int) -> int:
        if not done:
            done.append(True)
            target.rename(root.parent / "moved")
            elsewhere = root.parent if swapped == "middle" else root.parent / "outside"
            target.symlink_to(elsewhere)
            (root.parent / "model").symlink_to(root.parent / "outside")
        return real_open(path, flags, *rest, **named)

    monkeypatch.setattr(paths.os, "open", swap_then_open)
    roots = AllowedRoots([root])
    with (
        pytest.raises(PermissionDenied) as caught,
        roots.open_folder(root / "a/model"),
    ):
        pass
    assert caught.value.reason == "PATH_NOT_ALLOWED"
    assert done


def test_linked_files_are_read_inside_the_roots_only(root: Path) -> None:
    """The layout of the Hugging Face cache: a snapshot links to blobs beside it."""
    (root / "blobs").mkdir()
    weights = root / "model/model.safetensors"
    weights.rename(root / "blobs/abc")
    weights.symlink_to("../blobs/abc")
    assert "model.safetensors" in copied(root, root / "model")
    with pytest.raises(PermissionDenied):
        AllowedRoots([root / "model"]).open_file(weights)


def test_a_linked_file_outside_is_denied(root: Path) -> None:
    (root / "model/vocab.txt").symlink_to(root.parent / "outside/config.json")
    with pytest.raises(PermissionDenied):
        copied(root, root / "model")


def test_a_linked_folder_is_refused(root: Path) -> None:
    (root / "model/more.json").symlink_to(root.parent / "outside")
    with pytest.raises(StillroomError):
        copied(root, root / "model")


def test_a_pipe_neither_hangs_nor_passes(root: Path) -> None:
    os.mkfifo(root / "model/vocab.txt")
    with pytest.raises(InvalidArgument) as caught:
        copied(root, root / "model")
    assert caught.value.reason == "UNSAFE_FILE"


@pytest.mark.parametrize("limits", [{"files": 3}, {"size": 1000}])
def test_bounded(root: Path, limits: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        copied(root, root / "model", **limits)
    assert caught.value.reason == "IMPORT_TOO_LARGE"


def test_depth_is_bounded(root: Path) -> None:
    deep = root / "model" / "/".join("d" * 40)
    deep.mkdir(parents=True)
    with pytest.raises(InvalidArgument) as caught:
        copied(root, root / "model")
    assert caught.value.reason == "UNSAFE_FILE"


def test_what_a_model_does_not_need_is_left_out(root: Path) -> None:
    model = root / "model"
    for name in ("pytorch_model.bin", "model.h5", "a.py", ".git/config.json", "x.png"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(b"x")
    (model / "openvino").mkdir()
    (model / "openvino/openvino_model.bin").write_bytes(b"x")
    destination = root.parent / "copy"
    destination.mkdir()
    skipped = copy_folder(
        AllowedRoots([root]), str(model), destination, Budget(100, 10**6), lambda n: None
    )
    found = {file.path: file.reason for file in skipped}
    assert set(found) == {
        ".git",
        "pytorch_model.bin",
        "model.h5",
        "a.py",
        "x.png",
        "openvino/openvino_model.bin",
    }
    assert "run code" in found["pytorch_model.bin"]
    assert "runtime" in found["openvino/openvino_model.bin"]
    assert names(destination) == names(model) - set(found) - {".git/config.json"}
