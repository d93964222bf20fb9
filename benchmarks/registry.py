"""The registry by itself: publishing against what a shell does, names and lists in a large registry
beside eight writers."""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.data import Data
from benchmarks.figures import percentile, ratio
from benchmarks.knobs import Knobs
from benchmarks.registry_data import ALIAS, MODELS, VERSIONS, fill, model_name
from benchmarks.registry_writer import MODEL
from benchmarks.report import Report, Table, Target
from benchmarks.worker import worker
from stillroom_registry.registry import ModelKind, Registry

FILE_BYTES = 100_000_000
WRITERS = 8
SECONDS = 15.0  # of each load
PAGES = 300
PAUSE = 1e-3  # between calls: a loop without one measures how the system shares a core
T = TypeVar("T")
WANTED_RATIO, WANTED_RESOLVE, WANTED_PAGE = 1.5, 1e-3, 10e-3
_LISTS: dict[str, dict[str, Any]] = {
    "by name": {},
    "of a kind": {"kind": ModelKind.CLASSIFIER},
    "newest first": {"order_by": "update_time desc"},
    "by a label": {"filter": 'labels.team = "search" AND name : "7"'},
}


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Needs no data; everything happens in one temporary folder."""
    del data
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
        workspace = Path(folder)
        say("publishing 100 MB")
        publishing = {
            name: _publish_rounds(workspace, knobs, sizes)
            for name, sizes in (("one file", [FILE_BYTES]), ("ten files", [FILE_BYTES // 10] * 10))
        }
        say(f"writing {MODELS:,} models of {VERSIONS} versions")
        data_dir = workspace / "data"
        fill(data_dir)
        say("resolving and listing")
        alone = _load(data_dir)
        say(f"resolving and listing beside {WRITERS} writers")
        with _writing(data_dir) as written:
            beside = _load(data_dir)
        contiguous = _contiguous(data_dir, written)
    return _report(publishing, alone, beside, written, contiguous)


def _publish_rounds(workspace: Path, knobs: Knobs, sizes: Sequence[int]) -> dict[str, Any]:
    """Seconds of each side, in turns, so that the disk's mood is the same for both."""
    source, target = workspace / "source", workspace / "copied"
    source.mkdir()
    for place, size in enumerate(sizes):
        (source / f"weights{place}.safetensors").write_bytes(os.urandom(size))
    registry = Registry.open(workspace / "publishing")
    sides: dict[str, list[float]] = {"shell": [], "publish": []}
    for turn in range(knobs.warm_up + knobs.rounds):
        shutil.rmtree(target, ignore_errors=True)
        os.sync()
        seconds = {"shell": _seconds(lambda: _shell(source, target))}
        os.sync()
        seconds["publish"] = _seconds(lambda: registry.publish("m", ModelKind.STUDENT, source))
        if turn >= knobs.warm_up:
            for name, value in seconds.items():
                sides[name].append(value)
    registry.close()
    shutil.rmtree(source)
    shutil.rmtree(workspace / "publishing")
    medians = {name: statistics.median(values) for name, values in sides.items()}
    return {"seconds": sides, **medians, "ratio": ratio(medians["publish"], medians["shell"])}


def _shell(source: Path, target: Path) -> None:
    command = 'cp -r "$0" "$1" && sha256sum "$1"/* > "$1.sums" && sync "$1"/* "$1"'
    subprocess.run(["sh", "-c", command, source, target], check=True)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def _writing(data_dir: Path) -> Iterator[list[dict[str, Any]]]:
    """Publishes by processes meanwhile; on exit the list has an account of each."""
    accounts: list[dict[str, Any]] = []
    with ExitStack() as stack:
        writers = [
            stack.enter_context(worker("benchmarks.registry_writer", str(data_dir), str(number)))
            for number in range(WRITERS)
        ]
        for writer in writers:
            writer.ask(what="start")
        yield accounts
        accounts += [writer.ask(what="stop") for writer in writers]


def _load(data_dir: Path) -> dict[str, Any]:
    """Latencies in seconds of resolving by an alias, names at random, and of pages of 50."""
    choose = random.Random(0)
    registry = Registry.open(data_dir)
    end = time.perf_counter() + SECONDS
    resolves = _Latencies()
    while time.perf_counter() < end:
        name = f"{model_name(choose.randrange(MODELS))}@{ALIAS}"
        resolves.time(lambda name=name: registry.resolve(name))  # type: ignore[misc]
        time.sleep(PAUSE)
    pages = {name: _pages(registry, options, choose) for name, options in _LISTS.items()}
    registry.close()
    return {"resolve": resolves.figures(), "pages": {n: v.figures() for n, v in pages.items()}}


def _pages(registry: Registry, options: dict[str, Any], choose: random.Random) -> _Latencies:
    """Pages of a walk through the list, begun anew now and then and where it ends."""
    found, token = _Latencies(), ""
    for _ in range(PAGES):
        page = found.time(lambda token=token: registry.list_models(0, token, **options))  # type: ignore[misc]
        token = page.next_page_token if choose.random() < 0.9 else ""
        time.sleep(PAUSE)
    return found


class _Latencies:
    """Of calls: by the clock, and in CPU time of the thread, which others' work lengthens less."""

    def __init__(self) -> None:
        self._wall: list[float] = []
        self._cpu: list[float] = []

    def time(self, call: Callable[[], T]) -> T:
        cpu, wall = time.thread_time(), time.perf_counter()
        result = call()
        self._wall.append(time.perf_counter() - wall)
        self._cpu.append(time.thread_time() - cpu)
        return result

    def figures(self) -> dict[str, float]:
        return {
            "p50": percentile(self._wall, 0.5),
            "p99": percentile(self._wall, 0.99),
            "most": max(self._wall),
            "cpu_p99": percentile(self._cpu, 0.99),
            "count": len(self._wall),
        }


def _contiguous(data_dir: Path, written: Sequence[dict[str, Any]]) -> bool:
    """Whether the versions of the one model that all wrote to are 1, 2, 3 and so on, each given to
    one writer."""
    registry = Registry.open(data_dir)
    found: list[int] = []
    token = ""
    while True:
        page = registry.list_versions(MODEL, 1000, token)
        found += [version.version for version in page.items]
        token = page.next_page_token
        if not token:
            break
    registry.close()
    told = sorted(number for account in written for number in account["versions"])
    return sorted(found) == told == list(range(1, len(told) + 1))


def _report(
    publishing: dict[str, dict[str, Any]],
    alone: dict[str, Any],
    beside: dict[str, Any],
    written: Sequence[dict[str, Any]],
    contiguous: bool,
) -> Report:
    one = publishing["one file"]["ratio"]
    resolve = beside["resolve"]["p99"]
    page = max(figures["p99"] for figures in beside["pages"].values())
    errors = sorted({error for account in written for error in account["errors"]})
    count = sum(len(account["versions"]) for account in written)
    rate = sum(len(account["versions"]) / account["seconds"] for account in written)
    return Report(
        name="registry",
        title=f"{MODELS:,} models of {VERSIONS} versions, and {FILE_BYTES // 10**6} MB to publish",
        tables=[
            Table(
                "100 MB, seconds",
                ["content", "cp, sha256sum, sync", "publish", "ratio"],
                [
                    [name, *(f"{found[side]:.2f}" for side in ("shell", "publish", "ratio"))]
                    for name, found in publishing.items()
                ],
            ),
            Table(
                "milliseconds",
                ["what", "p50", "p99", "most", "CPU p99", "times"],
                [
                    row
                    for where, load in (("alone", alone), (f"{WRITERS} writers", beside))
                    for row in _rows(where, load)
                ],
            ),
        ],
        targets=[
            Target(
                "publish against cp, sha256sum and sync",
                f"{one:.2f}x",
                f"{WANTED_RATIO}x or less",
                one <= WANTED_RATIO,
            ),
            Target(
                f"resolve by alias beside {WRITERS} writers, p99",
                f"{1e3 * resolve:.2f} ms",
                f"{1e3 * WANTED_RESOLVE:.0f} ms or less",
                resolve <= WANTED_RESOLVE,
            ),
            Target(
                f"a page of 50 beside {WRITERS} writers, p99 of the slowest list",
                f"{1e3 * page:.1f} ms",
                f"{1e3 * WANTED_PAGE:.0f} ms or less",
                page <= WANTED_PAGE,
            ),
            Target(
                f"versions of one model by {WRITERS} writers",
                "contiguous" if contiguous else "NOT contiguous",
                "contiguous",
                contiguous,
            ),
            Target("errors of the writers", ", ".join(errors) or "none", "none", not errors),
        ],
        notes=[
            "In turns with the shell, a sync of everything before each; medians.",
            f"The writers are processes that publish three small files over and over: {count:,}"
            f" versions, {rate:.0f} a second.",
            "Rows of the large registry are written in bulk, as that many publishes leave them."
            " Names are taken at random, so nearly none is remembered.",
            f"{1e3 * PAUSE:.0f} ms between calls.",
        ],
        not_measured=["Kills and errors at every step: `make test-faults`."],
        values={
            "publishing": publishing,
            "alone": alone,
            "beside": beside,
            "versions_written": count,
            "versions_a_second": rate,
            "errors": errors,
        },
    )


def _rows(where: str, load: dict[str, Any]) -> Iterator[list[str]]:
    named = {"resolve": load["resolve"]}
    named |= {f"page {name}": figures for name, figures in load["pages"].items()}
    for name, found in named.items():
        times = [f"{1e3 * found[key]:.3f}" for key in ("p50", "p99", "most", "cpu_p99")]
        yield [f"{name}, {where}", *times, f"{found['count']:,}"]
