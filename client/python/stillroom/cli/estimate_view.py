"""What an estimate shows to people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from stillroom._protocol import enums
from stillroom.cli import human
from stillroom.cli.session import safe
from stillroom.costs import Estimate, Figure
from stillroom.v1 import cost_service_pb2 as pb

if TYPE_CHECKING:
    from stillroom.cli.session import Session

Show = Callable[[float], str]
Facts = list[tuple[str, str]]
UNKNOWN = "unknown"


def _bytes(value: float) -> str:
    return human.size(round(value))


def _share(value: float) -> str:
    return f"{value:.1%}"


# The figures of a piece of work in the order that people ask for them, in their units.
_FIGURES: dict[str, tuple[str, Show]] = {
    "wall_seconds": ("time", human.precise_duration),
    "cpu_seconds": ("processor time", human.precise_duration),
    "peak_memory_bytes": ("memory", _bytes),
    "disk_bytes": ("disk", _bytes),
    "network_bytes": ("network", _bytes),
    "energy_joules": ("energy", human.energy),
    "co2e_grams": ("carbon", human.carbon),
    "money_usd": ("money", human.money),
    "flops": ("operations", human.operations),
    "memory_traffic_bytes": ("memory traffic", _bytes),
}
_OUTCOME: dict[str, tuple[str, Show]] = {
    "result_bytes": ("size of the result", _bytes),
    "quality": ("quality", _share),
    "latency_seconds": ("time of a text", human.precise_duration),
    "texts_per_second": ("texts a second", human.count),
}
_SERVING: dict[str, tuple[str, Show]] = {
    "replicas": ("machines", human.count),
    "utilization": ("busy", _share),
    "median_latency_seconds": ("median of a request", human.precise_duration),
    "p99_latency_seconds": ("99 of 100 requests", human.precise_duration),
    "money_usd_per_million_texts": ("a million texts", human.money),
}
# How a limit is shown, by its name in LimitCheck.
LIMITS: dict[str, Show] = {
    "seconds": human.precise_duration,
    "memory_bytes": _bytes,
    "result_bytes": _bytes,
    "money_usd": human.money,
    "minimum_quality": _share,
    "maximum_latency_seconds": human.precise_duration,
}
_TABLE: dict[str, str] = {
    "memory_multiplier": "memory",
    "training_speedup": "speedup",
    "quality_retention": "quality kept",
    "batch_size_multiplier": "batch size",
    "trainable_parameters_percent": "percent trained",
    "memory_reduction_factor": "memory reduction",
}


def show(session: Session, message: pb.CostEstimate) -> None:
    """All of it."""
    session.facts(_head(message))
    if message.HasField("physical"):
        session.out.print()
        _figures(session, message)
        _phases(session, message.physical)
    for part in (_rules, _disagreements, _limits):
        part(session, message)
    if message.HasField("physical"):
        _grounds(session, message.physical)


def brief(estimate: Estimate) -> str:
    """One line: what it would take, of what is known of it."""
    parts = []
    for name in ("wall_seconds", "peak_memory_bytes", "energy_joules", "co2e_grams", "money_usd"):
        figure, form = estimate.figures[name], _FIGURES[name][1]
        if figure.p50 is not None:
            about = ranged(figure, form) if name == "wall_seconds" else form(figure.p50)
            parts.append(about)
    return f"{estimate.title or estimate.kind}: about " + ", ".join(parts)


def ranged(figure: Figure, form: Show) -> str:
    """``2 min (1 min to 3 min)``; without a range where it has none."""
    if figure.p10 is None or figure.p50 is None or figure.p90 is None:
        return UNKNOWN
    low, middle, high = form(figure.p10), form(figure.p50), form(figure.p90)
    return middle if low == middle == high else f"{middle} ({low} to {high})"


def shown(figure: Figure, form: Show) -> str:
    """The median; ``unknown`` where there is none."""
    return UNKNOWN if figure.p50 is None else form(figure.p50)


def refused(session: Session, message: pb.CostEstimate) -> None:
    """What a budget refused: the limits and what was expected, as a remark."""
    rows = _limit_rows(message)
    if rows:
        session.table(_LIMIT_COLUMNS, rows, aside=True)


def _head(message: pb.CostEstimate) -> Iterator[tuple[str, str]]:
    yield "estimate", message.title or message.kind
    if message.HasField("physical") and message.physical.device:
        yield "on", message.physical.device.removeprefix("devices/")
    if not message.runnable:
        yield "not runnable here", message.not_runnable_reason or "yes"
    if message.HasField("memory_fit"):
        fit = message.memory_fit
        verdict = {
            pb.VERDICT_KEPT: "fits",
            pb.VERDICT_EXCEEDED: "does not fit",
        }.get(fit.verdict, UNKNOWN)
        has = f" ({_bytes(fit.available_bytes)} there)" if fit.HasField("available_bytes") else ""
        yield "memory", verdict + has
    yield from _outcome(message.outcome)


def _outcome(outcome: pb.Outcome) -> Iterator[tuple[str, str]]:
    tables: tuple[tuple[pb.Outcome | pb.ServingOutcome, dict[str, tuple[str, Show]]], ...] = (
        (outcome, _OUTCOME),
        *(((outcome.serving, _SERVING),) if outcome.HasField("serving") else ()),
    )
    for part, names in tables:
        for name, (label, form) in names.items():
            figure = Figure.of(getattr(part, name))
            if figure.known:
                note = f"; {figure.note}" if figure.note else ""
                yield label, ranged(figure, form) + note


def _figures(session: Session, message: pb.CostEstimate) -> None:
    figures = Estimate(message).figures
    rows: list[tuple[str, ...]] = []
    notes: dict[str, list[str]] = {}
    for name, (label, form) in _FIGURES.items():
        figure = figures[name]
        numbers = [form(value) if value is not None else "" for value in (figure.p10, figure.p90)]
        rows.append((label, shown(figure, form), *numbers, figure.basis))
        for note in filter(None, figure.note.split("; ")):
            notes.setdefault(note, []).append(label)
    session.table(("", "EXPECTED#", "LOW#", "HIGH#", "BASIS"), rows)
    for note, labels in notes.items():
        session.out.print(safe(f"{', '.join(labels)}: {note}"))


def _phases(session: Session, physical: pb.PhysicalEstimate) -> None:
    if not physical.phases:
        return
    rows = []
    for phase in physical.phases:
        units = Figure.of(phase.units)
        counted = "" if units.p50 is None else f"{human.count(units.p50)} {phase.unit}"
        rows.append(
            (
                phase.phase,
                *(
                    shown(Figure.of(getattr(phase.resources, name)), _FIGURES[name][1])
                    for name in ("wall_seconds", "cpu_seconds", "peak_memory_bytes")
                ),
                counted,
                phase.limited_by,
            )
        )
    session.out.print()
    session.table(("PHASE", "TIME#", "PROCESSOR#", "MEMORY#", "UNITS#", "LIMITED BY"), rows)


def _rules(session: Session, message: pb.CostEstimate) -> None:
    if not message.HasField("table"):
        return
    table = message.table
    rows = []
    for name, label in _TABLE.items():
        if table.HasField(name):  # type: ignore[arg-type]
            figure = getattr(table, name)
            rows.append((label, f"{figure.value:.6g}", figure.baseline, figure.formula))
    session.out.print()
    session.table(("RULE OF THUMB", "TIMES#", "AGAINST", "FORMULA"), rows)
    because = f": {table.reason}" if table.reason else ""
    session.say(
        f"rules of thumb of {table.display_name}{because}; not to be combined with the rest"
    )


def _disagreements(session: Session, message: pb.CostEstimate) -> None:
    rows = [
        (
            _TABLE.get(item.figure, item.figure),
            f"{item.table:.3g}",
            shown(Figure.of(item.physical), lambda value: f"{value:.3g}"),
            f"{item.ratio:.2f}" if item.HasField("ratio") else UNKNOWN,
            item.note,
        )
        for item in message.disagreements
    ]
    if rows:
        session.out.print()
        session.table(("FIGURE", "RULE OF THUMB#", "COMPUTED#", "RATIO#", "NOTE"), rows)


_LIMIT_COLUMNS = ("LIMIT", "IS#", "EXPECTED#", "HIGH#", "VERDICT")


def _limits(session: Session, message: pb.CostEstimate) -> None:
    rows = _limit_rows(message)
    if rows:
        session.out.print()
        session.table(_LIMIT_COLUMNS, rows)


def _limit_rows(message: pb.CostEstimate) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for check in message.budget_check.limits:
        form = LIMITS.get(check.limit, human.count)
        figure = Figure.of(check.estimate)
        verdict = enums.word(pb.Verdict, check.verdict)
        if check.HasField("ratio") and check.verdict == pb.VERDICT_EXCEEDED:
            verdict += f", {check.ratio:.2f} times"
        high = "" if figure.p90 is None else form(figure.p90)
        rows.append((check.limit, form(check.value), shown(figure, form), high, verdict))
    return rows


def _grounds(session: Session, physical: pb.PhysicalEstimate) -> None:
    if physical.assumptions:
        session.out.print()
        session.table(
            ("ASSUMED", "VALUE", "FROM", "NOTE"),
            (
                (item.name, item.value, enums.word(pb.CostAssumptionSource, item.source), item.note)
                for item in physical.assumptions
            ),
        )
    if physical.omissions:
        session.out.print()
        session.table(
            ("LEFT OUT", "OF", "WHY"),
            ((item.name, item.phase or "all", item.reason) for item in physical.omissions),
        )
    facts: Facts = []
    if physical.HasField("calibration"):
        found = physical.calibration
        age = "just now" if found.fresh else f"{human.precise_duration(found.age_seconds)} ago"
        facts.append(("measured", f"{age}, {len(found.rates)} code paths"))
    if physical.HasField("intervals"):
        facts.append(("ranges", _basis(physical.intervals)))
    if facts:
        session.out.print()
        session.facts(facts)


def _basis(intervals: pb.IntervalBasis) -> str:
    if intervals.from_ledger:
        return f"from {intervals.ledger_jobs:,} jobs of this kind that have run here"
    return (
        f"assumed: {intervals.ledger_jobs:,} jobs of this kind have run here,"
        f" {intervals.needed_jobs:,} are needed"
    )
