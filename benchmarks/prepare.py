"""A student of the teacher, made as a user makes it: by a server, from the uploaded teacher."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.knobs import Knobs
from benchmarks.serving import serving
from stillroom import Client
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind

STUDENT = "student"


def distilled(knobs: Knobs, workspace: Path, say: Callable[[str], None]) -> tuple[Path, Path]:
    """The data directory of a server that has ``STUDENT``, and the student's folder. Nothing runs
    when this returns: a server that measures starts anew, without a runner beside it."""
    data_dir, folder = workspace / "data", workspace / "student"
    with serving(data_dir, workspace / "server.log") as server, Client(server.address) as client:
        say("importing the teacher")
        client.import_model("teacher", path=knobs.teacher).result()
        say("distilling")
        client.distill("teacher", STUDENT, dimensions=knobs.dimensions).result()
        client.download(STUDENT, folder)
    return data_dir, folder


class _Kept:
    """Students that were distilled in this process, in a folder that goes with it."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._students: dict[tuple[Path, int], Path] = {}

    def student(self, knobs: Knobs, say: Callable[[str], None]) -> Path:
        """The folder of a student; the first time it is distilled."""
        key = knobs.teacher, knobs.dimensions
        if key not in self._students:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="stillroom-bench-student-")
            kept = Path(self._folder.name) / str(len(self._students))
            with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as workspace:
                _, folder = distilled(knobs, Path(workspace), say)
                shutil.copytree(folder, kept)
            self._students[key] = kept
        return self._students[key]


_kept = _Kept()


def student_folder(knobs: Knobs, say: Callable[[str], None]) -> Path:
    """The folder of the student that benchmarks share; not to be written to."""
    return _kept.student(knobs, say)


def student_data(knobs: Knobs, workspace: Path, say: Callable[[str], None]) -> Path:
    """A new data directory in ``workspace`` that has nothing but ``STUDENT``."""
    return published(workspace / "data", STUDENT, ModelKind.STUDENT, student_folder(knobs, say))


def published(data_dir: Path, name: str, kind: ModelKind, folder: Path) -> Path:
    """``data_dir``, with ``folder`` as a version of the model ``name``."""
    registry = Registry.open(data_dir)
    registry.publish(name, kind, folder)
    registry.close()
    return data_dir
