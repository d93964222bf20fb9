"""Runs the measuring processes and takes in what they find, until they end or time is over."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillroom_server.cost.calibration.rates import Line

LIMIT_SECONDS = 2.75
"""On the clock, from the start of the processes to their end."""
_MARGIN_SECONDS = 0.2  # for starting and ending it
_CHILD = "stillroom_server.cost.calibration.child"
_KEPT = (
    *("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "LANG", "SYSTEMROOT"),
    "CUDA_VISIBLE_DEVICES",
)
_THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"),
)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What to measure, and as whom.

    ``groups``: host, teacher, student, classifier; the last three read the model in ``folder``.
    ``threads`` are the teacher's passes side by side, ``numeric_threads`` those of numpy's products
    and of tokenizers; both as the runner of operations has them, and ``nice`` its priority.
    ``scratch``: a folder on the disk of the data. ``verdicts``: where serving keeps its checks'.
    """

    groups: Sequence[str]
    scratch: Path
    threads: int
    numeric_threads: int
    nice: int = 10
    folder: Path | None = None
    verdicts: Path | None = None
    device: str = "auto"
    dtype: str = "auto"


@dataclass
class Found:
    """``lines`` by group; ``done`` are the groups that were measured as far as they can be."""

    lines: dict[str, list[Line]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)


def measure(job: Job, limit: float = LIMIT_SECONDS, module: str = _CHILD) -> Found:
    """Blocks for at most ``limit`` seconds and a little: a process for each group, one after the
    other, as side by side they would slow each other. What was found until then counts; a process
    that fails or is killed finds less, and raises nothing."""
    job.scratch.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + limit
    found = Found()
    for group in job.groups:
        left = end - time.monotonic()
        if left <= _MARGIN_SECONDS:
            break
        with _started(job, group, left, module) as process:
            if process is not None:
                said = read(_output(process, end).splitlines())
                found.lines |= said.lines
                found.done |= said.done
    return found


def read(lines: Sequence[str]) -> Found:
    """What the process said; lines cut off by its end are left out."""
    found = Found()
    for text in lines:
        try:
            said = json.loads(text)
            if "line" in said:
                found.lines.setdefault(said["group"], []).append(Line.from_json(said["line"]))
            elif "done" in said:
                found.done.add(said["done"])
            else:
                _log.warning("measuring the %s failed: %s", said["failed"], said["why"])
        except (ValueError, KeyError, TypeError):
            continue
    return found


@contextlib.contextmanager
def _started(
    job: Job, group: str, limit: float, module: str
) -> Iterator[subprocess.Popen[str] | None]:
    """A process that measures; it is gone on exit. None: there is none to be had."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(job),
            start_new_session=True,
            text=True,
        )
    except OSError as error:
        _log.warning("cannot measure this host: %s", error)
        yield None
        return
    with process:
        try:
            assert process.stdin is not None
            # One that ended at once says so by what it did not say.
            with contextlib.suppress(OSError):
                process.stdin.write(json.dumps(_spec(job, group, limit)) + "\n")
                process.stdin.flush()
            yield process
        finally:
            process.kill()


def _output(process: subprocess.Popen[str], end: float) -> str:
    try:
        return process.communicate(timeout=max(0.0, end - time.monotonic()))[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


def _spec(job: Job, group: str, limit: float) -> Mapping[str, Any]:
    return {
        "group": group,
        "seconds": max(0.0, limit - _MARGIN_SECONDS),
        "scratch": str(job.scratch),
        "threads": job.threads,
        "nice": job.nice,
        "folder": None if job.folder is None else str(job.folder),
        "verdicts": None if job.verdicts is None else str(job.verdicts),
        "device": job.device,
        "dtype": job.dtype,
    }


def _environment(job: Job) -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {
        **kept,
        **dict.fromkeys(_THREAD_VARIABLES, str(job.numeric_threads)),
        "HF_HUB_OFFLINE": "1",
    }
