"""SIGKILL at random moments: what was acknowledged is there, what was not is whole or absent.

``STILLROOM_KILLS`` sets how often; five times that, as nothing is cheaper to kill (default 40).
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from registry.whole import assert_nothing_leaks

from stillroom_registry.datadir import DataDirectory
from stillroom_registry.registry import Registry

KILLS = 5 * int(os.environ.get("STILLROOM_KILLS", "8"))
WORKER = Path(__file__).parent / "kill_worker.py"


@dataclass
class Acknowledged:
    """What the killed processes said was done, and the step that the last one was in."""

    digests: dict[tuple[str, int], str] = field(default_factory=dict)
    highest: dict[str, int] = field(default_factory=dict)
    deleted: set[tuple[str, int]] = field(default_factory=set)
    aliases: dict[str, int | None] = field(default_factory=dict)
    previous: dict[str, int | None] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    in_flight: dict[str, Any] | None = None
    count: int = 0

    def read(self, line: bytes) -> None:
        word, _, text = line.partition(b" ")
        step = json.loads(text)
        if word == b"try":
            self.in_flight = step
            return
        self.in_flight = None
        self.count += 1
        self.apply(step)

    def apply(self, step: dict[str, Any]) -> None:
        model, key = step["model"], (step["model"], step.get("version", 0))
        if step["action"] == "publish":
            assert key[1] > self.highest.get(model, 0), "a version number was given out again"
            self.highest[model] = key[1]
            self.digests[key] = step["digest"]
        elif step["action"] == "alias":
            self.move(model, key[1])
        elif step["action"] == "back":
            assert key[1] == self.previous[model]
            self.move(model, key[1])
        elif step["action"] == "update":
            self.descriptions[model] = step["description"]
        elif step["action"] == "delete":
            del self.digests[key]
            self.deleted.add(key)
            if self.aliases.get(model) == key[1]:
                self.move(model, None)

    def move(self, model: str, version: int | None) -> None:
        now = self.aliases.get(model)
        if now != version:
            self.previous[model], self.aliases[model] = now, version


def run_and_kill(tmp_path: Path, seed: int, known: Acknowledged) -> None:
    choose = random.Random(seed)
    process = subprocess.Popen(
        [sys.executable, WORKER, tmp_path / "data", tmp_path / "source", str(seed)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    for _ in range(choose.randint(1, 60)):
        line = process.stdout.readline()
        assert line, f"the worker ended by itself: {process.wait()}"
        known.read(line)
    # The worker goes on while this process computes: the moment is not tied to a line.
    for _ in range(choose.randint(0, 40_000)):
        choose.random()
    process.kill()
    rest, _ = process.communicate()
    for line in rest.splitlines(keepends=True):
        if line.endswith(b"\n"):
            known.read(line)


def settle(registry: Registry, known: Acknowledged) -> None:
    """Learn whether the step that was in flight happened; it may have, or not, but not half."""
    step, known.in_flight = known.in_flight, None
    if step is None or step["action"] in ("collect", "verify", "none"):
        return
    names = {model.name: model for model in registry.list_models().items}
    if step["model"] not in names:
        return
    model = names[step["model"]]
    if step["action"] == "publish":
        for version in registry.list_versions(model.name, 1000).items:
            if version.version > known.highest.get(model.name, 0):
                known.apply(step | {"version": version.version, "digest": version.digest})
    elif step["action"] == "alias":
        if model.aliases.get("production") == step["version"]:
            known.apply(step)
    elif step["action"] == "back":
        if model.aliases.get("production") != known.aliases.get(model.name):
            known.apply(step | {"version": model.aliases.get("production")})
    elif step["action"] == "update":
        if model.description == step["description"]:
            known.apply(step)
    elif step["version"] not in {v.version for v in registry.list_versions(model.name, 1000).items}:
        known.apply(step)


def check(registry: Registry, known: Acknowledged) -> None:
    found = {}
    for model in registry.list_models().items:
        assert model.aliases.get("production") == known.aliases.get(model.name)
        assert model.description == known.descriptions.get(model.name, "")
        for version in registry.list_versions(model.name, 1000).items:
            found[model.name, version.version] = version.digest
            assert [file.path for file in version.files] == ["own", "shared"]
            for file in version.files:
                assert registry.blobs.verify(file.digest) == file.size
    assert found == known.digests


@pytest.mark.slow
def test_acknowledged_writes_survive_and_nothing_is_half_done(tmp_path: Path) -> None:
    known = Acknowledged()
    for seed in range(KILLS):
        run_and_kill(tmp_path, seed, known)
        registry = Registry.open(tmp_path / "data")
        settle(registry, known)
        check(registry, known)
        registry.close()
    assert known.count > KILLS
    with DataDirectory.open(tmp_path / "data") as directory:
        assert list((directory.path / "tmp").iterdir()) == []
        registry = Registry.open(directory.path)
        check(registry, known)
        assert_nothing_leaks(registry, directory.path)
        check(registry, known)
        registry.close()
