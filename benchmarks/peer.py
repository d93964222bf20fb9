"""Another server of models, serving the same student through model2vec, in the same run."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data import Data
from benchmarks.figures import Summary, ratio, summarize
from benchmarks.knobs import Knobs
from benchmarks.peers.environment import PeerFailedError, interpreter
from benchmarks.prepare import STUDENT, student_data, student_folder
from benchmarks.report import Report, Table
from benchmarks.serving import environment, serving, tail
from benchmarks.stream import Case, Side, alternate
from benchmarks.worker import worker

__all__ = ["PeerFailedError", "run"]

PINS = Path(__file__).parent / "peers" / "mlserver.txt"
ROOT = Path(__file__).resolve().parents[1]
PEER = "MLServer"
MODEL = "student"
BATCHES = (32, 256, 1024)
START_SECONDS = 120.0
STOP_SECONDS = 15.0
TRIAL = 4096  # texts


@dataclass(frozen=True)
class Setting:
    """How the peer is run: processes of its own that compute (0: the one that serves), and the
    requests that the client keeps in flight."""

    workers: int
    window: int

    @property
    def name(self) -> str:
        return f"{self.workers} workers, {self.window} requests in flight"


SETTINGS = (Setting(0, 4), Setting(1, 4), Setting(2, 4), Setting(2, 8))


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Finds the peer's best setting, then measures both in turns."""
    texts = data.banking77("train").texts + data.banking77("test").texts
    say(f"installing {PEER}, once")
    python = interpreter(PINS)
    student = student_folder(knobs, say)
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
        workspace = Path(folder)
        (workspace / "texts.json").write_text(json.dumps(texts))
        data_dir = student_data(knobs, workspace, say)
        rates = {}
        for setting in SETTINGS:
            say(f"{PEER}: {setting.name}")
            with _peer(python, student, workspace, setting, knobs) as side:
                side.span(TRIAL, 256)
                rates[setting] = side.span(TRIAL, 256).rate
        best = max(rates, key=lambda setting: rates[setting])
        flags = ("--preload", STUDENT, "--log-level", "warning")
        with ExitStack() as stack:
            server = stack.enter_context(serving(data_dir, workspace / "server.log", *flags))
            client = stack.enter_context(
                worker("benchmarks.sides.stream_client", str(workspace / "texts.json"), STUDENT)
            )
            both = {"server": server.pid, "client": client.pid}
            sides = {
                "stillroom": Side(client, both, {"address": server.address}),
                PEER: stack.enter_context(_peer(python, student, workspace, best, knobs)),
            }
            cases: list[Case] = [(side, batch) for batch in BATCHES for side in sides]
            spans = alternate(sides, cases, len(texts), knobs, say)
    found = {case: summarize(done) for case, done in spans.items()}
    return _report(knobs, found, rates, best)


@contextmanager
def _peer(
    python: Path, student: Path, workspace: Path, setting: Setting, knobs: Knobs
) -> Iterator[Side]:
    """MLServer with the student, and a client of it."""
    folder = Path(tempfile.mkdtemp(dir=workspace))
    ports = _free_ports(3)
    write_settings(folder, student, setting, ports)
    log = folder / "log"
    variables = {**environment(os.environ), "PYTHONPATH": str(ROOT)}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [str(python), "-m", "mlserver.cli.main", "start", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env=variables,
            start_new_session=True,
        )
    arguments = (str(workspace / "texts.json"), MODEL, str(knobs.dimensions))
    settings = {"PYTHONPATH": str(ROOT)}
    address = f"127.0.0.1:{ports[1]}"
    try:
        with worker(
            "benchmarks.peers.mlserver_client", *arguments, settings=settings, python=python
        ) as client:
            try:
                client.ask(address=address, wait=START_SECONDS)
            except Exception as error:
                raise PeerFailedError(f"{PEER} did not start{tail(log)}") from error
            processes = {"server": process.pid, "client": client.pid}
            yield Side(client, processes, {"address": address, "window": setting.window})
    finally:
        _stop(process)


def write_settings(folder: Path, student: Path, setting: Setting, ports: list[int]) -> None:
    """The two files that MLServer reads; everything that costs and is not needed is off."""
    http, grpc_, metrics = ports
    server: dict[str, Any] = {
        "debug": False,
        "host": "127.0.0.1",
        "http_port": http,
        "grpc_port": grpc_,
        "metrics_port": metrics,
        "grpc_max_message_length": 64 << 20,
        "parallel_workers": setting.workers,
        "use_structured_logging": False,
    }
    model: dict[str, Any] = {
        "name": MODEL,
        "implementation": "benchmarks.peers.mlserver_model.Model2Vec",
        "parameters": {"uri": str(student)},
    }
    (folder / "settings.json").write_text(json.dumps(server))
    (folder / "model-settings.json").write_text(json.dumps(model))


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Asks it and its workers to stop, then makes them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(STOP_SECONDS)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _report(
    knobs: Knobs,
    found: Mapping[Case, Summary],
    rates: Mapping[Setting, float],
    best: Setting,
) -> Report:
    ratios = {b: ratio(found["stillroom", b].rate, found[PEER, b].rate) for b in BATCHES}
    rows = [
        [
            side,
            f"{batch:,}",
            f"{each.rate:,.0f}",
            f"{each.least:,.0f} to {each.most:,.0f}",
            f"{ratios[batch or 0]:.1f}" if side == "stillroom" else "1",
            " + ".join(f"{busy:.2f}" for busy in each.cores.values()),
        ]
        for (side, batch), each in found.items()
    ]
    others = [each.elsewhere for each in found.values() if each.elsewhere is not None]
    return Report(
        name="peer",
        title=f"the same student through {PEER}'s gRPC",
        tables=[
            Table(
                f"{knobs.rounds} rounds a case, in turns",
                ["side", "texts a message", "texts/s, median", "range", "ratio", "cores"],
                rows,
            ),
            Table(
                f"{PEER}'s settings, {TRIAL:,} texts once",
                ["setting", "texts/s"],
                [[each.name, f"{rate:,.0f}"] for each, rate in rates.items()],
            ),
        ],
        targets=[],
        notes=[
            f"{PEER} with a custom runtime around model2vec's encode, its best setting of those"
            f" tried: {best.name}. Lists of texts by ModelInfer, raw tensors both ways, requests"
            " serialized before.",
            "stillroom: EmbedStream by the Python client, its default window.",
            f"{PEER} runs in a virtual environment of its own, from {PINS.name}.",
        ],
        not_measured=["Other peers; HTTP."],
        values={
            "ratios": {str(batch): value for batch, value in ratios.items()},
            "best": best.name,
            "settings": {each.name: rate for each, rate in rates.items()},
            "cases": [
                {"side": side, "batch": batch, **vars(each)}
                for (side, batch), each in found.items()
            ],
        },
        elsewhere=statistics.median(others) if others else None,
    )
