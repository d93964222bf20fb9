"""The time of one text by unary Embed, beside a handler that does nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from benchmarks.figures import percentile, ratio
from benchmarks.knobs import Knobs
from benchmarks.prepare import STUDENT
from benchmarks.report import Table
from benchmarks.serving import Serving
from benchmarks.sides.stream_client import EMBED, request_bytes
from benchmarks.worker import Worker

NOTES = (
    "One text: the same calls in turns to the server and to a grpc.aio server whose handler parses"
    " the request and answers the same bytes; by Client.embed, and by gRPC alone (no client of"
    " ours).",
)
SHARES = {"p50": 0.5, "p99": 0.99}
_BLOCK = 100  # calls to one server before it is the other's turn

Result = dict[str, dict[str, list[float]]]
"""Seconds of each call, by the way of calling and by the server."""


def compare(
    server: Serving, client: Worker, workspace: Path, knobs: Knobs, say: Callable[[str], None]
) -> Result:
    """Calls both servers in turns, over both ways of calling."""
    text = json.loads((workspace / "texts.json").read_text())[0]
    with grpc.insecure_channel(server.address) as channel:
        answer: bytes = channel.unary_unary(EMBED, None, None)(request_bytes(text, STUDENT))
    (workspace / "answer").write_bytes(answer)
    result: Result = {}
    seconds: dict[str, list[float]]
    with noop_server(workspace / "answer") as (noop, _):
        servers = {"stillroom": server.address, "no-op": noop}
        for way, raw in (("Client.embed", False), ("gRPC alone", True)):
            say(f"one text: {way}")
            seconds = {name: [] for name in servers}
            result[way] = seconds
            for block in range(knobs.warm_up + max(1, knobs.calls // _BLOCK)):
                for name, address in servers.items():
                    found = client.ask(address=address, calls=_BLOCK, raw=raw)
                    if block >= knobs.warm_up:
                        seconds[name] += found
    return result


def table(result: Result) -> Table:
    """Percentiles of both servers, and their ratios."""
    rows = []
    for way, found in values(result).items():
        for share in SHARES:
            ours, noop = found["stillroom"][share], found["no-op"][share]
            cells = [f"{1e6 * ours:,.0f}", f"{1e6 * noop:,.0f}", f"{ratio(ours, noop):.2f}"]
            rows.append([f"{way}, {share}", *cells])
    calls = len(next(iter(result.values()))["stillroom"])
    columns = ["way", "stillroom", "no-op", "ratio"]
    return Table(f"one text by unary, microseconds, {calls:,} calls a cell", columns, rows)


def values(result: Result) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds by way, server and percentile."""
    return {
        way: {
            name: {label: percentile(seconds, share) for label, share in SHARES.items()}
            for name, seconds in found.items()
        }
        for way, found in result.items()
    }


@contextmanager
def noop_server(answer: Path) -> Iterator[tuple[str, int]]:
    """The address and process id of a server that answers the bytes in ``answer``."""
    process: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sides.noop_server", str(answer)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        said: dict[str, Any] = json.loads(process.stdout.readline())
        yield said["address"], process.pid
    finally:
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
