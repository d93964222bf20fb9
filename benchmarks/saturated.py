"""How many unary calls of one text a second, beside a handler that does nothing."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from benchmarks.data import Data
from benchmarks.figures import Span, ratio
from benchmarks.knobs import Knobs
from benchmarks.meter import measured
from benchmarks.prepare import STUDENT, student_data
from benchmarks.report import Report, Table, Target
from benchmarks.serving import serving
from benchmarks.sides.stream_client import EMBED, request_bytes
from benchmarks.unary import noop_server
from benchmarks.worker import Worker, worker

WANTED = 0.65
OURS, NOTHING = "stillroom", "no-op"

Rounds = dict[int, list[tuple[Span, Span]]]
"""By calls in flight: pairs of a round of the server and one of the no-op, next to each other."""


def run(knobs: Knobs, data: Data, say: Callable[[str], None]) -> Report:
    """Loads both servers in turns."""
    text = data.banking77("train").texts[0]
    with tempfile.TemporaryDirectory(prefix="stillroom-bench-") as folder:
        workspace = Path(folder)
        data_dir = student_data(knobs, workspace, say)
        flags = ("--preload", STUDENT, "--log-level", "warning")
        with (
            serving(data_dir, workspace / "server.log", *flags) as server,
            worker("benchmarks.sides.saturating_client", text, STUDENT) as client,
        ):
            with grpc.insecure_channel(server.address) as channel:
                answer: bytes = channel.unary_unary(EMBED, None, None)(request_bytes(text, STUDENT))
            (workspace / "answer").write_bytes(answer)
            with noop_server(workspace / "answer") as noop:
                servers = {OURS: (server.address, server.pid), NOTHING: noop}
                found = {
                    concurrency: _rounds(client, servers, concurrency, knobs, say)
                    for concurrency in knobs.concurrencies
                }
    return _report(knobs, found)


def _rounds(
    client: Worker,
    servers: dict[str, tuple[str, int]],
    concurrency: int,
    knobs: Knobs,
    say: Callable[[str], None],
) -> list[tuple[Span, Span]]:
    pairs = []
    for turn in range(knobs.warm_up + 2 * knobs.rounds):
        spans: dict[str, Span] = {}
        # Who comes first changes: a machine that slows down would favor the first.
        for name in sorted(servers, reverse=bool(turn % 2)):
            say(f"{concurrency} calls in flight, round {turn}: {name}")
            address, pid = servers[name]
            with measured({"server": pid, "client": client.pid}) as reading:
                calls, seconds = client.ask(
                    address=address, concurrency=concurrency, seconds=knobs.round_seconds
                )
            spans[name] = Span(calls, seconds, reading.cpu, reading.elsewhere)
        if turn >= knobs.warm_up:
            pairs.append((spans[OURS], spans[NOTHING]))
    return pairs


def shares(pairs: list[tuple[Span, Span]]) -> tuple[float, float]:
    """Medians of the ratios of neighbors: of the rates, and of the server's CPU a call."""
    return (
        statistics.median(ratio(ours.rate, nothing.rate) for ours, nothing in pairs),
        statistics.median(
            ratio(cpu_per_call(ours), cpu_per_call(nothing)) for ours, nothing in pairs
        ),
    )


def cpu_per_call(span: Span) -> float:
    """Seconds of CPU that the server spent on a call."""
    return span.cpu["server"] / span.units


def _report(knobs: Knobs, found: Rounds) -> Report:
    rows = []
    values: dict[str, Any] = {}
    least = min(shares(pairs)[0] for pairs in found.values())
    for concurrency, pairs in found.items():
        share, cpu = shares(pairs)
        sides = {OURS: [p[0] for p in pairs], NOTHING: [p[1] for p in pairs]}
        for name, spans in sides.items():
            rates = [span.rate for span in spans]
            cells = [f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f} to {max(rates):,.0f}"]
            cells.append(f"{1e6 * statistics.median(map(cpu_per_call, spans)):,.0f}")
            cells += [f"{share:.2f}", f"{cpu:.2f}"] if name == OURS else ["1", "1"]
            rows.append([f"{name}, {concurrency} in flight", *cells])
        values[str(concurrency)] = {
            "ratio": share,
            "cpu_ratio": cpu,
            "rates": {name: [span.rate for span in spans] for name, spans in sides.items()},
        }
    others = [s.elsewhere for pairs in found.values() for pair in pairs for s in pair]
    known = [each for each in others if each is not None]
    return Report(
        name="saturated",
        title="unary calls of one text a second",
        tables=[
            Table(
                f"{2 * knobs.rounds} rounds of {knobs.round_seconds:g} s a case, in turns",
                ["side", "RPC/s", "range", "server CPU, us a call", "rate, ratio", "CPU, ratio"],
                rows,
            )
        ],
        targets=[
            Target(
                "RPC/s to a no-op's, the least",
                f"{least:.2f}",
                f"{WANTED} or more",
                least >= WANTED,
            )
        ],
        notes=[
            "The no-op is a grpc.aio server on the same event loop whose handler parses the request"
            " and answers the same bytes. Ratios are medians over rounds that are next to each"
            " other.",
            "One client process with one connection and one event loop; it shares the cores.",
        ],
        not_measured=["Several connections; TLS; options."],
        values=values,
        elsewhere=statistics.median(known) if known else None,
    )
