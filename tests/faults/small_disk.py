"""Distillations on a disk of a few megabytes that fills up in each of their phases.

``python -m faults.small_disk FOLDER`` in a mount namespace of its own; prints what became of each
attempt as JSON.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from distillation import teachers
from distillation.contexts import Context
from distillation.recipes.room import Room, asking, check_nothing_leaked

from stillroom_registry.errors import StillroomError

SIZE = 24 << 20
PHASES = ("corpus", "featurize", "train", "write", "verify", "publish")


class Fills(Context):
    """No byte is left on the disk from the moment on at which ``phase`` begins."""

    def __init__(self, workspace: Path, filler: Path) -> None:
        super().__init__(workspace)
        self._filler = filler
        self.phase = ""

    def progress(self, phase: str, *numbers: int, unit: str, message: str = "") -> None:
        super().progress(phase, *numbers, unit=unit, message=message)
        if phase == self.phase and not self._filler.exists():
            fill(self._filler)


def fill(path: Path) -> None:
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def main(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(disk)], check=True)
    room = Room.open(disk, teachers.make("bert", folder / "teacher"))
    request = asking("transformer")
    room.distill({**request, "name": "first"})
    found: dict[str, Any] = {}
    context = Fills(room.context().workspace, disk / "filler")
    for phase in PHASES:
        shutil.rmtree(disk / "data/cache/features", ignore_errors=True)
        shutil.rmtree(context.workspace)
        context.workspace.mkdir()
        context.phase = phase
        try:
            room.attempt(request, context)
        except StillroomError as error:
            found[phase] = error.reason
        finally:
            (disk / "filler").unlink(missing_ok=True)
        assert not room.has("small"), phase
        # What is there goes on where it was.
        context.phase = ""
        room.attempt({**request, "name": f"after-{phase}"}, context)
        assert room.bytes_of(f"after-{phase}") == room.bytes_of("first"), phase
    shutil.rmtree(context.workspace)
    check_nothing_leaked(room.registry)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
