"""From physics and prices to what is answered: the CostEstimate in JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from stillroom_server.cost.assumptions import Assumption
from stillroom_server.cost.calibration.rates import RateSet
from stillroom_server.cost.environment import Environment
from stillroom_server.cost.figures import Figure, Resources, total
from stillroom_server.cost.ledger.intervals import Intervals
from stillroom_server.cost.physical.built import Built
from stillroom_server.cost.physical.phase import Phase
from stillroom_server.cost.recommend.limits import Verdict
from stillroom_server.cost.tables.estimate import table_of

JSON = dict[str, Any]


def assemble(
    kind: str,
    built: Built,
    environment: Environment,
    rates: RateSet,
    intervals: Intervals | None,
    assumed: tuple[Assumption, ...],
    now: datetime,
) -> JSON:
    """``rates`` are those of this host and ``intervals`` those that its ledger has learnt; both say
    nothing of another device, and are then not used."""
    estimate: JSON = {"kind": kind, "title": built.title, "runnable": not built.not_runnable}
    if built.not_runnable:
        estimate["not_runnable_reason"] = built.not_runnable
    if built.paradigm is not None:
        reason = "" if kind == "paradigm" else built.reason
        estimate["table"] = table_of(built.paradigm, reason=reason)
    whole = Resources()
    if built.phases:
        phases = [_resources(phase, built, environment) for phase in built.phases]
        whole = _whole(kind, phases, built, environment, intervals)
        estimate["physical"] = {
            "phases": [
                _phase(phase, taken) for phase, taken in zip(built.phases, phases, strict=True)
            ],
            "total": whole.to_json(),
            "device": environment.device.full_name,
            "assumptions": [
                each.to_json() for each in (*built.assumptions, *environment.assumptions, *assumed)
            ],
            "omissions": [each.to_json() for each in built.omissions],
        }
        info = rates.info(now) if environment.in_host else None
        if info is not None:
            estimate["physical"]["calibration"] = info
        if intervals is not None and environment.in_host:
            estimate["physical"]["intervals"] = intervals.basis(kind)
        estimate["memory_fit"] = _memory_fit(whole.peak_memory_bytes, environment)
    estimate["disagreements"] = _disagreements(estimate.get("table"), built)
    estimate["outcome"] = _outcome(built, whole)
    estimate["estimate_time"] = now.isoformat().replace("+00:00", "Z")
    return estimate


def _resources(phase: Phase, built: Built, environment: Environment) -> Resources:
    wall = built.elapsed or phase.wall(
        environment.threads, environment.contention, environment.alone
    )
    return _billed(
        Resources(
            flops=phase.flops,
            memory_traffic_bytes=phase.traffic,
            cpu_seconds=phase.cpu,
            wall_seconds=wall,
            peak_memory_bytes=phase.memory,
            disk_bytes=phase.disk,
            network_bytes=phase.network,
        ),
        built,
        environment,
    )


def _billed(taken: Resources, built: Built, environment: Environment) -> Resources:
    cpu, machines = taken.cpu_seconds, built.machines
    if machines is not None:
        cpu = cpu.times(machines.inverse())
    bill = environment.bill(cpu, taken.wall_seconds)
    found = {"energy_joules": bill.energy, "co2e_grams": bill.co2e, "money_usd": bill.money}
    if machines is not None:
        found = {name: figure.times(machines) for name, figure in found.items()}
    return taken.mapped(lambda name, figure: found.get(name, figure))


def _whole(
    kind: str,
    phases: list[Resources],
    built: Built,
    environment: Environment,
    intervals: Intervals | None,
) -> Resources:
    whole = total(phases)
    if intervals is not None and environment.in_host:
        whole = whole.mapped(lambda name, figure: intervals.apply(kind, name, figure))
    return _billed(whole, built, environment)


def _phase(phase: Phase, taken: Resources) -> JSON:
    return {
        "phase": phase.name,
        "resources": taken.to_json(),
        "limited_by": phase.limited_by,
        "units": phase.units.to_json(),
        "unit": phase.unit,
    }


def _memory_fit(peak: Figure, environment: Environment) -> JSON:
    available = environment.available_memory
    if available is None or not peak.known:
        known = {} if available is None else {"available_bytes": available}
        return {"verdict": str(Verdict.UNKNOWN), **known}
    kept = Verdict.KEPT if peak.numbers()[2] <= available else Verdict.EXCEEDED
    return {"verdict": str(kept), "available_bytes": available}


def _disagreements(table: JSON | None, built: Built) -> list[JSON]:
    found = []
    for name, physical in built.against_table.items():
        rule = (table or {}).get(name)
        if rule is None:
            continue
        said: JSON = {"figure": name, "physical": physical.to_json(), "table": rule["value"]}
        if physical.known and rule["value"]:
            said["ratio"] = physical.numbers()[1] / rule["value"]
        if name in built.notes:
            said["note"] = built.notes[name]
        found.append(said)
    return found


def _outcome(built: Built, whole: Resources) -> JSON:
    outcome = built.outcome
    said: JSON = {
        "result_bytes": outcome.result_bytes.to_json(),
        "quality": outcome.quality.to_json(),
        "latency_seconds": outcome.latency_seconds.to_json(),
        "texts_per_second": outcome.texts_per_second.to_json(),
    }
    serving = built.serving
    if serving is not None:
        texts = built.phases[0].units.numbers()[1]
        said["serving"] = {
            "replicas": serving.replicas.to_json(),
            "utilization": serving.utilization.to_json(),
            "median_latency_seconds": serving.median_latency_seconds.to_json(),
            "p99_latency_seconds": serving.p99_latency_seconds.to_json(),
            "money_usd_per_million_texts": whole.money_usd.scaled(1e6 / texts).to_json(),
        }
    return said
