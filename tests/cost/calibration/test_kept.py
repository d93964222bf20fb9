"""Measurements on disk."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stillroom_server.cost.calibration import kept as module
from stillroom_server.cost.calibration.kept import Kept, Measured
from stillroom_server.cost.calibration.rates import fit

KEY = "sha256:" + "a" * 64
TIME = datetime(2030, 1, 1, tzinfo=UTC)
MEASURED = Measured(TIME, {"hash": fit("hash", [(1.0, 0.1)])}, complete=True, tried=TIME)


def test_what_was_kept_is_there_in_another_process(tmp_path: Path) -> None:
    Kept(tmp_path / "new").put(KEY, MEASURED)
    assert Kept(tmp_path / "new").get(KEY) == MEASURED
    assert [file.name for file in (tmp_path / "new").iterdir()] == [f"{'a' * 64}.json"]


def test_what_another_process_kept_since(tmp_path: Path) -> None:
    ours, theirs = Kept(tmp_path), Kept(tmp_path)
    assert ours.get(KEY) is None
    theirs.put(KEY, MEASURED)
    assert ours.get(KEY) == MEASURED
    later = Measured(TIME, {}, complete=False, attempts=2, tried=TIME)
    theirs.put(KEY, later)
    assert ours.get(KEY) == later


def spoiled(text: str) -> list[bytes]:
    data = text.encode()
    return [
        b"",
        data[: len(data) // 2],
        b"[]",
        b"\xff\xfe",
        b"null",
        data.replace(b"aaaa", b"bbbb", 1),
        data.replace(b'"hash"', b'"unheard.of"'),
        data.replace(b"+00:00", b""),
        data.replace(b'"slope_seconds": 0.1', b'"slope_seconds": -1'),
        data.replace(b'"slope_seconds": 0.1', b'"slope_seconds": NaN'),
    ]


@pytest.mark.parametrize("place", range(10))
def test_a_damaged_file_counts_as_none(tmp_path: Path, place: int) -> None:
    Kept(tmp_path).put(KEY, MEASURED)
    file = tmp_path / f"{'a' * 64}.json"
    data = spoiled(file.read_text())[place]
    assert data != file.read_bytes()
    file.write_bytes(data)
    kept = Kept(tmp_path)
    assert kept.get(KEY) is None
    kept.put(KEY, MEASURED)
    assert kept.get(KEY) == MEASURED


def test_a_disk_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Kept(tmp_path / "file" / "folder")
    kept.put(KEY, MEASURED)
    assert kept.get(KEY) is None


def test_nothing_is_left_of_a_write_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    Kept(tmp_path).put(KEY, MEASURED)
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FILES", 3)
    kept = Kept(tmp_path)
    for number in range(5):
        key = f"sha256:{number}"
        kept.put(key, MEASURED)
        os.utime(tmp_path / f"{number}.json", (number, number))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2.json", "3.json", "4.json"]
