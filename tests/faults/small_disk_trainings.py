"""Trainings on a disk of a few megabytes that fills up in each of their phases.

``python -m faults.small_disk_trainings FOLDER`` in a mount namespace of its own; prints what became
of each attempt as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from classification.contexts import Context
from classification.room import Room, asking, single
from classification.test_interruptions import GRADIENT
from distillation.recipes.room import check_nothing_leaked

from faults.small_disk import SIZE, fill
from stillroom_registry.errors import StillroomError

PHASES = ("data", "train", "write", "verify", "report", "publish")


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


def main(folder: Path) -> None:
    from stillroom_server.classification.training import trail

    trail.SAVE_SECONDS = 0.0
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", str(disk)], check=True)
    room = Room.open(disk)
    path = disk / "data.jsonl"
    rows = [{"text": text, "label": labels[0]} for text, labels in single()]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    request = asking(options=GRADIENT) | {"data": {"path": str(path)}}
    room.train({**request, "name": "first"})
    found: dict[str, Any] = {}
    for phase in PHASES:
        context = Fills(room.context().workspace, disk / "filler")
        context.phase = phase
        try:
            room.attempt(request, context)
        except StillroomError as error:
            found[phase] = error.reason
        finally:
            (disk / "filler").unlink(missing_ok=True)
        assert not room.has(), phase
        # What is there goes on where it was.
        context.phase = ""
        room.train({**request, "name": f"after-{phase}"}, context)
        assert room.bytes_of(f"after-{phase}") == room.bytes_of("first"), phase
    check_nothing_leaked(room.registry)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
