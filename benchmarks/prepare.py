"""A student of the teacher, made as a user makes it: by a server, from the uploaded teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.knobs import Knobs
from benchmarks.serving import serving
from stillroom import Client

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
