"""What ``stillroom bench`` shows to people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stillroom.bench.histogram import Summary
from stillroom.bench.plan import Plan
from stillroom.bench.report import Report
from stillroom.bench.run import Watch
from stillroom.bench.tally import Tally
from stillroom.cli import human
from stillroom.cli.session import Session

# Above it the sending thread may be what is slow.
_BUSY = 0.8


@contextmanager
def progress(session: Session, plan: Plan) -> Iterator[Watch | None]:
    """Yields what shows progress on standard error: a line that changes, or one a phase."""
    if session.json_output:
        yield None
    elif session.err.is_terminal:
        with session.err.status("connecting", refresh_per_second=4) as status:
            yield lambda tally, now: status.update(_line(plan, tally, now))
    else:
        yield _phase_lines(session, plan)


def _phase_lines(session: Session, plan: Plan) -> Watch:
    last = ""

    def watch(tally: Tally, now: float) -> None:
        nonlocal last
        if (phase := _phase(plan, tally, now)) != last:
            last = phase
            session.say(phase)

    return watch


def _phase(plan: Plan, tally: Tally, now: float) -> str:
    if now < tally.start:
        return f"warming up for {human.duration(plan.warm_up)}"
    if now < tally.end:
        return f"measuring {_extent(plan)}"
    return "waiting for the last answers"


def _extent(plan: Plan) -> str:
    if plan.messages is not None:
        return f"{plan.messages:,} messages"
    return human.duration(plan.duration or 0.0)


def _line(plan: Plan, tally: Tally, now: float) -> str:
    """Only numbers and words of this program: nothing of the server's."""
    if not (seconds := tally.seconds(now)) > 0:
        return _phase(plan, tally, now)
    errors = f", {tally.failed:,} failed" if tally.failed else ""
    unsent = f", {tally.unsent:,} not sent" if tally.unsent else ""
    return (
        f"{_phase(plan, tally, now)}: {human.duration(seconds)},"
        f" {tally.done.texts / seconds:,.0f} texts/s, {tally.in_flight:,} in flight{errors}{unsent}"
    )


def show(session: Session, model: str, report: Report) -> None:
    """The whole report as tables."""
    session.facts(_facts(model, report))
    timed: list[tuple[str, Summary | None]] = [
        ("answers", report.latency),
        ("failures", report.failure),
        ("sent late by", report.lag),
    ]
    rows = [(name, *_quantiles(found)) for name, found in timed if found is not None]
    if rows:
        session.out.print()
        columns = ("ms", "mean#", "p50#", "p90#", "p99#", "p99.9#", "max#")
        session.table(columns, rows)
    if report.errors:
        session.out.print()
        session.table(
            ("error", "reason", "count#", "first message"),
            [(e.code, e.reason, f"{e.count:,}", e.message[:200]) for e in report.errors],
        )
    for remark in _remarks(report):
        session.say(remark)


def _facts(model: str, report: Report) -> Iterator[tuple[str, str]]:
    plan = report.plan
    loop = "closed loop" if plan.rate is None else f"open loop of {plan.rate:,g} messages/s"
    most = "" if plan.rate is None else "at most "
    over = "" if plan.connections == 1 else f" over {plan.connections} connections"
    yield "model", ", ".join(report.model_versions) or model
    yield "load", f"{plan.mode}, {loop}, {most}{plan.concurrency:,} in flight{over}"
    yield "texts", f"{report.texts_per_message:,} at a time, in turn from {report.texts:,}"
    yield "measured", f"{report.seconds:.2f} s after {plan.warm_up:g} s of warm-up"
    yield "messages", ", ".join(_counts(report))
    yield "texts/s", f"{report.texts_per_second:,.1f}"
    yield "messages/s", f"{report.messages_per_second:,.1f}"
    yield "tokens/s", f"{report.tokens_per_second:,.0f}"
    sent, received = (human.size(round(n)) for n in (report.bytes_sent, report.bytes_received))
    yield "bytes/s", f"{sent} out, {received} in"
    if report.answered:
        phases = ", ".join(f"{n} {s * 1e3:.3g}" for n, s in report.server.items() if n != "total")
        yield "server", f"{report.server['total'] * 1e3:.3g} ms a message ({phases})"
    yield "client CPU", f"{report.cpu:.0%} of a core, sending thread {report.thread:.0%}"


def _counts(report: Report) -> Iterator[str]:
    yield f"{report.answered:,} answered"
    yield f"{report.failed:,} failed"
    if report.unanswered:
        yield f"{report.unanswered:,} unanswered"
    if report.plan.rate is not None:
        yield f"{report.unsent:,} not sent"


def _quantiles(found: Summary) -> tuple[str, ...]:
    values = (found.mean, found.p50, found.p90, found.p99, found.p99_9, found.max)
    return tuple(f"{value * 1e3:,.2f}" for value in values)


def _remarks(report: Report) -> Iterator[str]:
    if report.interrupted:
        yield "interrupted: this is what was measured until then"
    if report.thread > _BUSY:
        yield (
            f"the client was busy {report.thread:.0%} of the time: the server may be able to do"
            " more; send more texts a message, or start this command several times at once"
        )
    if report.unsent:
        yield (
            f"{report.unsent:,} messages were due while {report.plan.concurrency:,} were in flight"
            " and were not sent; the latencies know nothing of them"
        )
    if report.answered and not report.messages_per_second:
        yield "no answer came within the time measured: give it a longer --duration"
