"""A large registry, written in bulk: the rows that so many publishes would leave."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stillroom_registry import schema
from stillroom_registry.registry import Registry

MODELS = 10_000
VERSIONS = 10
ALIAS = "production"
_START = datetime(2025, 1, 1, tzinfo=UTC)
_FILES = {"config.json": 600, "model.safetensors": 30_000_000, "onnx/model.onnx": 31_000_000}
_FILES |= {"stillroom.json": 4_000, "tokenizer.json": 700_000}
_KINDS = ("student", "student", "student", "classifier", "teacher")
_TEAMS = ("search", "support", "sales", "ads")
# About what the report of a distillation takes.
_METADATA = {"recipe": "static", "report": {f"figure{n}": n / 7 for n in range(40)}}


def model_name(number: int) -> str:
    """The name of the model of that number, from 0."""
    return f"model-{number:05d}"


def fill(data_dir: Path) -> None:
    """Make the registry: each version of five files, each model with an alias."""
    registry = Registry.open(data_dir)
    for models in _batched(range(MODELS), 500):
        with registry.database.write() as connection:
            for table, rows in _rows(models).items():
                connection.execute(schema.metadata.tables[table].insert(), rows)
    registry.close()


def _rows(models: tuple[int, ...]) -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("models", "versions", "version_files", "blobs", "aliases")
    }
    for number in models:
        time = _START + timedelta(minutes=number)
        kind, model_id = _KINDS[number % len(_KINDS)], number + 1
        tables["models"].append(
            {
                "id": model_id,
                "name": model_name(number),
                "kind": kind,
                "description": f"The model number {number}, made by nobody for a benchmark.",
                "labels": {"team": _TEAMS[number % len(_TEAMS)], "stage": "test"},
                "next_version": VERSIONS + 1,
                "revision": VERSIONS,
                "create_time": time,
                "update_time": time + timedelta(days=(number * 7919) % 365),
            }
        )
        for version in range(1, VERSIONS + 1):
            _add_version(tables, model_id, version, kind, time)
        alias = {"model_id": model_id, "alias": ALIAS, "version": VERSIONS - number % 3}
        tables["aliases"].append({**alias, "update_time": time})
    return tables


def _add_version(
    tables: dict[str, list[dict[str, Any]]], model_id: int, version: int, kind: str, time: datetime
) -> None:
    version_id = (model_id - 1) * VERSIONS + version
    tables["versions"].append(
        {
            "id": version_id,
            "model_id": model_id,
            "version": version,
            "kind": kind,
            "metadata": _METADATA,
            "size": sum(_FILES.values()),
            "digest": _digest(f"{version_id}"),
            "create_time": time,
        }
    )
    for path, size in _FILES.items():
        digest = _digest(f"{version_id} {path}")
        tables["version_files"].append(
            {"version_id": version_id, "path": path, "digest": digest, "size": size}
        )
        tables["blobs"].append(
            {"digest": digest, "size": size, "generation": 1, "check_time": time}
        )


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _batched(items: range, size: int) -> Iterator[tuple[int, ...]]:
    for start in range(0, len(items), size):
        yield tuple(items[start : start + size])
