"""The table's answer for a paradigm, as the protocol's TableEstimate in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from stillroom_server.cost.tables import values
from stillroom_server.cost.tables.paradigms import FineTuning, Paradigm
from stillroom_server.cost.tables.reading import read_paradigm
from stillroom_server.cost.tables.values import BASELINES, JSON, Rule


def table_of(
    paradigm: Paradigm | Mapping[str, Any], field_prefix: str = "", *, reason: str = ""
) -> JSON:
    """All rules of thumb of a paradigm, or of the JSON of a ParadigmWorkload.

    ``reason`` says why work counts as this paradigm that did not ask for it by name. Raises
    InvalidArgument, the field beginning with ``field_prefix``.
    """
    if isinstance(paradigm, Mapping):
        paradigm = read_paradigm(paradigm, field_prefix)
    told: JSON = {
        "paradigm": f"PARADIGM_{paradigm.name.upper()}",
        "display_name": paradigm.display_name,
        "requires_pretrained": paradigm.requires_pretrained,
        "parameter_efficient": paradigm.parameter_efficient,
    }
    if reason:
        told["reason"] = reason
    method = paradigm.method if isinstance(paradigm, FineTuning) else None
    source = values.PARADIGMS if method is None else values.METHODS
    rules = {each.name: getattr(paradigm.rules, each.name) for each in fields(paradigm.rules)}
    if method is not None:
        told["fine_tuning_method"] = f"FINE_TUNING_METHOD_{method.name.upper()}"
        rules["trainable_parameters_percent"] = method.trainable_percent
        rules["memory_reduction_factor"] = method.memory_reduction
    return told | {name: _figure(name, rule, source) for name, rule in rules.items()}


def _figure(name: str, rule: Rule, source: str) -> JSON:
    told: JSON = {"value": rule.value, "baseline": BASELINES[name], "source": source}
    return told | ({"formula": rule.formula} if rule.formula else {})
