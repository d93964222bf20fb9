"""The copy that is read: of one moment, and the same for every attempt."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from classification.data.support import Recorder, from_file, refused

from stillroom_registry.errors import (
    Aborted,
    Cancelled,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from stillroom_server.classification.data import copying
from stillroom_server.classification.data.examples import read
from stillroom_server.security.paths import AllowedRoots

DATA = b"text,label\n" + b"".join(b"text %d,%d\n" % (i, i % 3) for i in range(4000))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(copying, "_CHUNK", 1 << 12)
    made = tmp_path / "data.csv"
    made.write_bytes(DATA)
    return made


def while_copied(action: Callable[[], object]) -> Recorder:
    """Does ``action`` when some of the file is copied."""

    def act(number: int) -> None:
        if number == 3:
            action()

    return Recorder(act)


def grow(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"late,1\n")


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(DATA)
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


def rewrite(path: Path) -> None:
    status = path.stat()
    path.write_bytes(DATA.replace(b"text 39", b"test 39"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


@pytest.mark.parametrize(
    "change",
    [grow, replace, rewrite, Path.unlink, lambda path: os.truncate(path, len(DATA) - 5000)],
    ids=["grown", "replaced", "rewritten", "removed", "cut"],
)
def test_a_file_that_changes_while_it_is_copied_is_not_read(
    change: Callable[[Path], object], path: Path
) -> None:
    error = refused(
        "DATA_CHANGED", lambda: from_file(path, context=while_copied(lambda: change(path)))
    )
    assert isinstance(error, Aborted)
    assert error.field == "data"
    assert not list((path.parent / "workspace").iterdir())


def test_a_second_attempt_succeeds_after_a_change(path: Path) -> None:
    refused("DATA_CHANGED", lambda: from_file(path, context=while_copied(lambda: grow(path))))
    assert len(from_file(path)) == 4001


def test_a_later_attempt_reads_the_copy(path: Path) -> None:
    first = from_file(path)
    path.unlink()
    context = Recorder()
    assert from_file(path, context=context).digest == first.digest
    assert ("data", 2 * len(DATA), 2 * len(DATA), "bytes") in context.told


def test_an_attempt_that_was_killed_leaves_no_copy(path: Path) -> None:
    def stop(number: int) -> None:
        if number == 3:
            raise Cancelled("stop")

    with pytest.raises(Cancelled):
        from_file(path, context=Recorder(stop))
    workspace = path.parent / "workspace"
    (workspace / "data.0.unfinished").write_bytes(b"of a kill")
    path.write_bytes(b"text,label\na,b\n")
    assert len(from_file(path)) == 1
    assert sorted(file.name for file in workspace.iterdir()) == ["copy.json", "data"]


@pytest.mark.parametrize("file", ["data", "copy.json"])
def test_a_damaged_copy_is_made_again(file: str, path: Path) -> None:
    first = from_file(path)
    damaged = path.parent / "workspace" / file
    damaged.write_bytes(damaged.read_bytes()[:-2])
    assert from_file(path).digest == first.digest


def test_a_copy_of_something_else_is_not_taken(path: Path) -> None:
    from_file(path)
    other = path.with_name("other.csv")
    other.write_bytes(b"text,label\na,b\n")
    assert len(from_file(other)) == 1


def test_progress_is_told_from_the_start_to_the_end(path: Path) -> None:
    context = Recorder()
    from_file(path, context=context)
    done = [told[1] for told in context.told]
    assert done == sorted(done)
    assert context.told[-1] == ("data", 2 * len(DATA), 2 * len(DATA), "bytes")
    assert any(len(DATA) < told < 2 * len(DATA) for told in done)


def test_a_full_disk_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(copying.os, "fsync", full)
    error = refused("DISK_FULL", lambda: from_file(path))
    assert isinstance(error, ResourceExhausted)
    assert not list((path.parent / "workspace").iterdir())


def test_only_allowed_paths_are_read(path: Path, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.csv").symlink_to(path)

    def reading(name: str) -> Callable[[], object]:
        return lambda: read(
            {"path": name},
            tmp_path / "w",
            multi_label=False,
            context=Recorder(),
            field="validation_data",
            roots=AllowedRoots([inside]),
        )

    for name in (str(path), str(inside / "link.csv"), "/etc/passwd.csv"):
        error = refused("PATH_NOT_ALLOWED", reading(name))
        assert isinstance(error, PermissionDenied)
        assert error.field == "validation_data.path"
    assert isinstance(refused("PATH_NOT_FOUND", reading(str(inside / "a.csv"))), NotFound)


def test_an_upload_is_read_by_what_it_is_called(path: Path, tmp_path: Path) -> None:
    bare = path.rename(tmp_path / "data")
    source = {"upload": "uploads/x", "file": str(bare), "filename": "mine.csv"}
    made = read(source, tmp_path / "w", multi_label=False, context=Recorder())
    assert len(made) == 4000
    named = {
        "upload": "uploads/x",
        "file": str(bare),
        "format": {"file_format": "LABELED_FILE_FORMAT_CSV"},
    }
    again = read(named, tmp_path / "w", multi_label=False, context=Recorder())
    assert again.digest == made.digest
    bare.unlink()
    gone = read(source, tmp_path / "w", multi_label=False, context=Recorder())
    assert gone.digest == made.digest
    error = refused(
        "UPLOAD_NOT_FOUND",
        lambda: read(source, tmp_path / "v", multi_label=False, context=Recorder()),
    )
    assert error.field == "data.upload"


def test_the_mark_says_what_was_copied(path: Path) -> None:
    from_file(path)
    mark = json.loads((path.parent / "workspace" / "copy.json").read_text())
    assert json.loads(mark["asked"]) == ["path", str(path)]
