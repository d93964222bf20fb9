"""The generated code and the protocol's baseline are those of the protos."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "client" / "python"
PACKAGES = ("stillroom/v1", "stillroom/internal/v1")


def generated(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): path.read_text()
        for package in PACKAGES
        for path in (root / package).iterdir()
        if path.suffix in {".py", ".pyi"}
    }


def test_the_committed_code_is_fresh(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "protos" / "generate.py"), str(tmp_path)]
    for package in PACKAGES:
        (tmp_path / package).mkdir(parents=True)
    subprocess.run(command, check=True)
    fresh, committed = generated(tmp_path), generated(CLIENT)
    assert fresh.keys() == committed.keys()
    stale = sorted(name for name in fresh if fresh[name] != committed[name])
    assert not stale, "run `make protos` and commit what it changes"


@pytest.fixture(scope="module")
def image() -> descriptor_pb2.FileDescriptorSet:
    data = (ROOT / "protos" / "baseline.binpb").read_bytes()
    return descriptor_pb2.FileDescriptorSet.FromString(data)


def test_the_baseline_holds_every_proto(image: descriptor_pb2.FileDescriptorSet) -> None:
    ours = {
        path.relative_to(ROOT / "protos").as_posix() for path in (ROOT / "protos").rglob("*.proto")
    }
    public = {name for name in ours if name.startswith("stillroom/v1/")}
    assert public <= {file.name for file in image.file}


def buf(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("buf")
    return subprocess.run(
        [str(program), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_a_breaking_change_is_noticed(tmp_path: Path) -> None:
    """The check itself works: against a baseline with one more field, today's protos break."""
    data = (ROOT / "protos" / "baseline.binpb").read_bytes()
    image = descriptor_pb2.FileDescriptorSet.FromString(data)
    file = next(file for file in image.file if file.name.endswith("upload_service.proto"))
    field = file.message_type[0].field.add()
    field.CopyFrom(file.message_type[0].field[0])
    field.name, field.json_name, field.number = "was_here", "wasHere", 999
    changed = tmp_path / "baseline.binpb"
    changed.write_bytes(image.SerializeToString())
    done = buf("breaking", "protos", "--against", str(changed))
    assert done.returncode != 0
    assert "was_here" in done.stdout + done.stderr
    done = buf("breaking", "protos", "--against", "protos/baseline.binpb")
    assert done.returncode == 0, done.stdout
