"""Estimates whose figures a test decides, with the real looks at models and data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from sqlalchemy import Connection

from stillroom_registry.registry import Registry
from stillroom_server.cost.looking.looking import Looking
from stillroom_server.cost.looking.works import Works
from stillroom_server.cost.policy import Policy
from stillroom_server.cost.workloads import DistillWork, Work
from stillroom_server.rpc.estimates import Estimates
from stillroom_server.security.paths import AllowedRoots

Json = Mapping[str, Any]


def figure(p50: float | None, spread: float = 1.5) -> dict[str, Any]:
    """A CostFigure in JSON; None is unknown."""
    if p50 is None:
        return {"basis": "COST_BASIS_UNKNOWN", "note": "nobody knows"}
    numbers = {"p10": p50 / spread, "p50": p50, "p90": p50 * spread}
    return {"basis": "COST_BASIS_CALIBRATED", **numbers}


class FakeEstimator:
    """Says that work takes what ``takes(work)`` says, in the units of a budget."""

    def __init__(self) -> None:
        self.asked: list[tuple[Work, Json | None, Policy]] = []
        self.takes: Callable[[Work], dict[str, float | None]] = lambda _: {"seconds": 10.0}
        self.fails: Exception | None = None

    def estimate(
        self,
        work: Work,
        environment: Json | None = None,
        *,
        policy: Policy = Policy.WHEN_NEEDED,
        budget: Json | None = None,
        field: str = "workload",
    ) -> Json:
        self.asked.append((work, environment, policy))
        if self.fails is not None:
            raise self.fails
        figures = {name: figure(value) for name, value in self.takes(work).items()}
        seconds = figures.get("seconds", figure(None))
        training = figure(training_seconds(work))
        said: dict[str, Any] = {
            "kind": work.kind,
            "title": title(work),
            "runnable": True,
            "physical": {
                "phases": [
                    {"phase": "load", "resources": {"wall_seconds": figure(1.0)}},
                    {"phase": "train", "resources": {"wall_seconds": training}},
                ],
                "total": {"wall_seconds": seconds},
                "device": "devices/host",
                "assumptions": [{"name": "texts", "value": "2 texts"}],
                "omissions": [{"name": "nothing", "reason": "for a test"}],
            },
            "estimate_time": "2026-01-02T00:00:00Z",
        }
        if budget:
            said["budget_check"] = _check(budget, figures)
        return said


class FakeLedger:
    """Remembers what it was told to expect."""

    def __init__(self) -> None:
        self.expected: dict[str, tuple[str, Json | None]] = {}

    def expect(
        self, connection: Connection, operation_id: str, kind: str, estimate: Json | None
    ) -> None:
        assert connection.in_transaction()
        self.expected[operation_id] = kind, estimate


LITTLE: dict[str, float | None] = {
    "seconds": 1.0,
    "memory_bytes": 1e6,
    "result_bytes": 1e5,
    "money_usd": 1e-6,
}


class Estimating:
    """Estimates for a servicer, and what they were made of."""

    def __init__(self, registry: Registry, roots: AllowedRoots) -> None:
        self.estimator = FakeEstimator()
        self.ledger = FakeLedger()
        works = Works(registry, Looking(registry, roots))
        self.estimates = Estimates(works, self.estimator, self.ledger)


def title(work: Work) -> str:
    """Of a distillation its recipe."""
    return next(iter(work.body["recipe"])) if isinstance(work, DistillWork) else work.kind


def options(work: Work) -> Json:
    """Those of a distillation's recipe."""
    assert isinstance(work, DistillWork)
    return dict(next(iter(work.body["recipe"].values())))


def training_seconds(work: Work) -> float:
    """1,000, or what a tuned recipe is limited to."""
    if not isinstance(work, DistillWork) or title(work) != "static_tuned":
        return 0.0
    limit = options(work).get("time_budget_seconds")
    return 1000.0 if limit is None else min(1000.0, float(limit))


def _check(budget: Json, figures: Mapping[str, Json]) -> Json:
    limits = []
    for name, value in budget.items():
        found = figures.get(name, figure(None))
        p90 = found.get("p90")
        verdict = "UNKNOWN" if p90 is None else "EXCEEDED" if p90 > value else "KEPT"
        limit = {"limit": name, "value": value, "estimate": found, "verdict": f"VERDICT_{verdict}"}
        limits.append(limit if p90 is None else {**limit, "ratio": p90 / value})
    verdicts = {limit["verdict"] for limit in limits}
    worst = next(
        (each for each in ("VERDICT_EXCEEDED", "VERDICT_UNKNOWN") if each in verdicts),
        "VERDICT_KEPT",
    )
    return {"verdict": worst, "limits": limits}


def write_teacher(folder: Path) -> None:
    """As far as its facts are read: a configuration and the header of weights."""
    config = {
        "model_type": "bert",
        "vocab_size": 100,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 32,
    }
    (folder / "config.json").write_text(json.dumps(config))
    table = np.zeros((100, 64), np.float32)
    save_file({"embeddings.word_embeddings.weight": table}, folder / "model.safetensors")
