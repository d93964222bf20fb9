"""Verdicts on disk: kept, bounded, and never a reason to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillroom_server.inference import verdicts
from stillroom_server.inference.verdicts import FileVerdicts, versions


def test_kept_by_key(tmp_path: Path) -> None:
    store = FileVerdicts(tmp_path / "a" / "b")
    assert store.get("x") is None
    store.put("x", {"equal": "yes"})
    store.put("y", {"equal": "no"})
    assert FileVerdicts(tmp_path / "a" / "b").get("x") == {"equal": "yes"}
    assert store.get("y") == {"equal": "no"}
    assert store.get("z") is None
    assert all(not file.name.startswith(".") for file in (tmp_path / "a" / "b").iterdir())


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"key": "other", "equal": "yes"}']
)
def test_damaged_files_are_no_verdict(tmp_path: Path, content: bytes) -> None:
    store = FileVerdicts(tmp_path)
    store.put("x", {"equal": "yes"})
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert store.get("x") is None


def test_a_folder_that_cannot_be_made_costs_only_the_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = FileVerdicts(tmp_path / "file" / "cache")
    store.put("x", {"equal": "yes"})
    assert store.get("x") is None


def test_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "MAX_VERDICTS", 3)
    store = FileVerdicts(tmp_path)
    for index in range(6):
        store.put(str(index), {"n": str(index)})
    assert len(list(tmp_path.iterdir())) == 3
    memory = verdicts.MemoryVerdicts()
    for index in range(6):
        memory.put(str(index), {"n": str(index)})
    assert memory.get("5") == {"n": "5"}
    assert memory.get("0") is None


def test_versions_of_distributions() -> None:
    assert versions("no-such-distribution") == "no-such-distribution==none"
    assert versions("numpy", "tokenizers").count("==") == 2
