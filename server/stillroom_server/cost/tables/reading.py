"""Paradigms from the JSON of a ParadigmWorkload."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from stillroom_registry.errors import InvalidArgument
from stillroom_server.cost.tables.methods import METHODS, Lora, Method, Qlora
from stillroom_server.cost.tables.paradigms import (
    DeepLearning,
    Distillation,
    Ensemble,
    FineTuning,
    Moe,
    Paradigm,
    TraditionalMl,
)


def read_paradigm(workload: Mapping[str, Any], field_prefix: str) -> Paradigm:
    """The paradigm that a ParadigmWorkload names; deep learning when it names none.

    What else the workload holds, such as a teacher, is not read. Raises InvalidArgument, the field
    beginning with ``field_prefix`` (such as ``workload.paradigm``).
    """
    with _at(field_prefix):
        if "traditional_ml" in workload:
            return TraditionalMl()
        if "fine_tuning" in workload:
            with _at("fine_tuning"):
                return FineTuning(_method(workload["fine_tuning"]))
        if "distillation" in workload:
            return Distillation()
        if "moe" in workload:
            given = workload["moe"]
            with _at("moe"):
                return Moe(int(given.get("experts", 0)), int(given.get("active_experts", 0)))
        if "ensemble" in workload:
            with _at("ensemble"):
                return Ensemble(int(workload["ensemble"].get("members", 0)))
        return DeepLearning()


def check_rank(paradigm: Paradigm, hidden_size: int, field_prefix: str) -> None:
    """Raises InvalidArgument where the matrices would be wider than the model."""
    method = paradigm.method if isinstance(paradigm, FineTuning) else None
    if isinstance(method, Lora | Qlora) and method.rank > hidden_size:
        field = f"fine_tuning.{method.name}.rank"
        raise InvalidArgument(
            f"a rank of {method.rank} is more than the model's hidden size of {hidden_size}",
            field=f"{field_prefix}.{field}" if field_prefix else field,
        )


def _method(given: Mapping[str, Any]) -> Method:
    for name, made in METHODS.items():
        if name not in given:
            continue
        values = given[name]
        with _at(name):
            if made is Lora:
                alpha = values.get("alpha")
                return Lora(int(values.get("rank", 0)), None if alpha is None else float(alpha))
            if made is Qlora:
                return Qlora(int(values.get("rank", 0)), int(values.get("bits", 0)))
            return made()
    raise InvalidArgument(
        f"fine-tuning needs a method: one of {', '.join(METHODS)}", reason="METHOD_REQUIRED"
    )


@contextmanager
def _at(path: str) -> Iterator[None]:
    """Puts ``path`` before the field of an error."""
    try:
        yield
    except InvalidArgument as error:
        error.field = ".".join(part for part in (path, error.field) if part) or None
        raise
