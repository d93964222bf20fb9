"""Uploaded archives, honest and hostile."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from imports.folders import names, teacher

from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_server.imports.archive import unpack_upload
from stillroom_server.imports.selection import Budget, SkippedFile


def pack(folder: Path, target: Path, *, top: str = ".", mode: str = "w") -> Path:
    with tarfile.open(target, mode) as tar:
        tar.add(folder, top)
    return target


def unpack(
    tar: Path, *, files: int = 100, size: int = 10**6
) -> tuple[Path, list[SkippedFile], list[int]]:
    destination = tar.parent / "out"
    destination.mkdir()
    chunks: list[int] = []
    skipped = unpack_upload(tar, destination, Budget(files, size), chunks.append)
    return destination, skipped, chunks


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("top", [".", "my-model"])
def test_a_packed_folder_comes_back(tmp_path: Path, top: str, mode: str) -> None:
    source = teacher(tmp_path / "model")
    out, skipped, chunks = unpack(pack(source, tmp_path / "data", top=top, mode=mode))
    assert names(out) == names(source)
    assert all((out / name).read_bytes() == (source / name).read_bytes() for name in names(out))
    assert sum(chunks) == sum((source / name).stat().st_size for name in names(source))
    assert skipped == []


def test_unwanted_files_are_left_out(tmp_path: Path) -> None:
    source = teacher(tmp_path / "model")
    (source / "pytorch_model.bin").write_bytes(b"x" * 100)
    out, skipped, _ = unpack(pack(source, tmp_path / "data"))
    assert [file.path for file in skipped] == ["pytorch_model.bin"]
    assert "pytorch_model.bin" not in names(out)


def member(name: str, **changes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in changes.items():
        setattr(info, key, value)
    return info


def archive(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for info in members:
            tar.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)
    return path


@pytest.mark.parametrize(
    "members",
    [
        [member("../config.json", size=1)],
        [member("/etc/config.json", size=1)],
        [member("a/../../config.json", size=1)],
        [member("config.json", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
        [member("config.json", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
        [member("config.json", type=tarfile.FIFOTYPE)],
        [member("config.json", type=tarfile.CHRTYPE)],
        [member("config.json", size=1), member("config.json", size=1)],
        [member("a\\config.json", size=1)],
        [member("a\nb.json", size=1)],
    ],
)
def test_hostile_members_are_refused(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        unpack(archive(tmp_path / "data", *members))
    assert caught.value.reason == "UNSAFE_FILE"
    assert caught.value.field == "source.upload"
    assert not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize("limits", [{"files": 2}, {"size": 500}])
def test_bounded_before_anything_is_written(tmp_path: Path, limits: dict[str, int]) -> None:
    tar = pack(teacher(tmp_path / "model"), tmp_path / "data")
    with pytest.raises(InvalidArgument) as caught:
        unpack(tar, **limits)
    assert caught.value.reason == "IMPORT_TOO_LARGE"
    assert not any((tmp_path / "out").iterdir())


def test_a_bomb_is_refused_by_its_declared_size(tmp_path: Path) -> None:
    """100 MB of zeros in 100 KB of gzip, in a file that would not even be wanted."""
    zeros = io.BytesIO()
    with tarfile.open(fileobj=zeros, mode="w") as tar:
        tar.addfile(member("zeros.bin", size=10**8), io.BytesIO(bytes(10**8)))
    (tmp_path / "data").write_bytes(gzip.compress(zeros.getvalue(), 9))
    with pytest.raises(InvalidArgument) as caught:
        unpack(tmp_path / "data")
    assert caught.value.reason == "IMPORT_TOO_LARGE"


def test_an_endless_extended_header_is_not_read(tmp_path: Path) -> None:
    header = member("x", type=tarfile.XHDTYPE, size=2**33).tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "data").write_bytes(header + bytes(1024))
    with pytest.raises(InvalidArgument) as caught:
        unpack(tmp_path / "data")
    assert caught.value.reason == "ARCHIVE_CORRUPT"


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


@pytest.mark.parametrize(
    "content",
    [
        lambda tar: b"",
        lambda tar: b"not an archive" * 100,
        cut,
        lambda tar: cut(gzip.compress(tar)),
        lambda tar: b"\x1f\x8bgarbage",
    ],
)
def test_what_is_no_archive(tmp_path: Path, content: Callable[[bytes], bytes]) -> None:
    tar = pack(teacher(tmp_path / "model"), tmp_path / "whole").read_bytes()
    (tmp_path / "data").write_bytes(content(tar))
    with pytest.raises(InvalidArgument) as caught:
        unpack(tmp_path / "data")
    assert caught.value.reason in ("ARCHIVE_CORRUPT", "NOT_A_MODEL")


def test_an_upload_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        unpack(tmp_path / "data")
    assert caught.value.reason == "UPLOAD_NOT_FOUND"
