"""The generated tables of docs/operating.md: ``python tests/docs/tables.py`` writes them again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "operating.md"
_EMPTY: tuple[Any, ...] = (None, [], "")


def settings_table() -> str:
    """A row a setting: its flag, its default, what it is."""
    from stillroom_server.settings import Settings, default_data_dir

    rows: list[tuple[str, ...]] = []
    for name, field in Settings.model_fields.items():
        default: Any = field.default
        if field.default_factory is default_data_dir:
            default = "stillroom in $XDG_DATA_HOME, else ~/.local/share"
        elif field.default_factory is not None:
            default = []
        choices = getattr(field.annotation, "__args__", ()) if not field.description else ()
        text = field.description or f"one of {', '.join(map(str, choices))}"
        rows.append((f"`--{name.replace('_', '-')}`", _shown(default), text))
    return _table(("Flag", "Default", "What it is"), rows)


def metrics_table() -> str:
    """A row a metric: its name, type, labels and help."""
    from prometheus_client import CollectorRegistry

    from stillroom_server.observability import metrics

    registry = CollectorRegistry()
    metrics.build_info(registry, "0")
    metrics.RequestMetrics(registry).declare("/p.S/R")
    metrics.EmbedMetrics(registry).declare(["m"])
    metrics.ClassifyMetrics(registry).declare(["m"])
    found = [_metric(family) for family in registry.collect()]
    rows = [row for row in found if not row[0].endswith("_created`")]
    return _table(("Metric", "Type", "Labels", "What it is"), [*rows, *_gauges()])


def _gauges() -> list[tuple[str, ...]]:
    """The gauges that ``parts`` makes, caught as it makes them."""
    from unittest import mock

    from stillroom_server import parts

    with mock.patch.object(parts, "GaugeCollector") as made:
        parts._gauges(mock.Mock(), mock.Mock())
    calls = [call.args for call in made.call_args_list]
    return [(f"`{name}`", "gauge", _names(labels), text) for _, name, text, labels, _ in calls]


def _metric(family: Any) -> tuple[str, ...]:
    suffix = "_total" if family.type == "counter" else ""
    labels = {label: None for sample in family.samples for label in sample.labels if label != "le"}
    return (f"`{family.name}{suffix}`", family.type, _names(labels), family.documentation)


def _names(labels: Iterable[str]) -> str:
    return ", ".join(f"`{label}`" for label in labels)


def _shown(default: Any) -> str:
    if default in _EMPTY:
        return ""
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:,}" if isinstance(default, int) else str(default)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


TABLES: dict[str, Callable[[], str]] = {"settings": settings_table, "metrics": metrics_table}


def rendered(page: str) -> str:
    """``page`` with its generated parts as they should be."""
    for name, table in TABLES.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        before, _, rest = page.partition(begin)
        _, found, behind = rest.partition(end)
        if not found:
            raise ValueError(f"{PAGE.name} has no {begin} ... {end}")
        page = f"{before}{begin}\n{table()}\n{end}{behind}"
    return page


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / part) for part in ("client/python", "registry", "server")]
    PAGE.write_text(rendered(PAGE.read_text()))
