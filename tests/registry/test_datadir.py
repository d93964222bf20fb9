"""The data directory: private, one server at a time, swept of what the dead left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stillroom_registry.datadir import FOLDERS, DataDirectory
from stillroom_registry.errors import FailedPrecondition
from stillroom_registry.scratch import Scratch, sweep_abandoned

HOLD = """
import sys
from pathlib import Path
from stillroom_registry.datadir import DataDirectory
from stillroom_registry.scratch import Scratch
directory = DataDirectory.open(Path(sys.argv[1]))
(Scratch(directory.path / "tmp").new()).write_text("half")
print("held", flush=True)
sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_the_layout_is_private(tmp_path: Path) -> None:
    with DataDirectory.open(tmp_path / "a" / "data") as directory:
        assert directory.path.stat().st_mode & 0o777 == 0o700
        for name in FOLDERS:
            assert (directory.path / name).stat().st_mode & 0o777 == 0o700
        for name in ("stillroom.db", "stillroom.lock"):
            assert (directory.path / name).stat().st_mode & 0o777 == 0o600


def test_a_second_server_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    process = hold(tmp_path / "data")
    with pytest.raises(FailedPrecondition) as caught:
        DataDirectory.open(tmp_path / "data")
    assert caught.value.reason == "DATA_DIR_IN_USE"
    assert caught.value.metadata == {"pid": str(process.pid)}
    DataDirectory.open(tmp_path / "data", shared=True).close()
    assert len(list((tmp_path / "data" / "tmp").iterdir())) == 1
    process.kill()
    process.wait()
    with DataDirectory.open(tmp_path / "data"):
        assert list((tmp_path / "data" / "tmp").iterdir()) == []
    process.communicate()


def test_the_lock_is_given_back(tmp_path: Path) -> None:
    DataDirectory.open(tmp_path / "data").close()
    first = DataDirectory.open(tmp_path / "data")
    with pytest.raises(FailedPrecondition):
        DataDirectory.open(tmp_path / "data")
    first.close()
    DataDirectory.open(tmp_path / "data").close()


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "data", Path("/proc/stillroom")):
        with pytest.raises(FailedPrecondition) as caught:
            DataDirectory.open(path)
        assert (caught.value.reason, caught.value.field) == ("DATA_DIR_NOT_USABLE", "data_dir")


def test_scratch_in_use_is_not_swept(tmp_path: Path) -> None:
    (tmp_path / "stray").write_text("x")
    (tmp_path / "abandoned").mkdir()
    with Scratch(tmp_path) as scratch:
        path = scratch.new()
        path.write_text("x")
        assert sweep_abandoned(tmp_path) == 2
        assert path.read_text() == "x"
    assert list(tmp_path.iterdir()) == []
