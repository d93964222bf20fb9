"""The registry against a simple model of it, in random order of operations.

``STILLROOM_EXAMPLES`` sets how many histories are tried (default 4, of up to 30 steps each).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stillroom_registry.errors import FailedPrecondition, NotFound
from stillroom_registry.registry import ModelKind, Registry

NAMES = st.sampled_from(["a", "b"])
ALIASES = st.sampled_from(["default", "production"])
NUMBERS = st.integers(1, 6)
CONTENTS = st.sampled_from([b"x", b"y", b"z"])
KINDS = st.sampled_from(list(ModelKind))


@dataclass
class Expected:
    """A model as it should be."""

    alive: bool = False
    kind: ModelKind = ModelKind.STUDENT
    published: int = 0
    versions: dict[int, bytes] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.registry = Registry.open(self.root / "data")
        self.models = {"a": Expected(), "b": Expected()}

    def teardown(self) -> None:
        self.registry.close()
        shutil.rmtree(self.root)

    @rule(name=NAMES, kind=KINDS, content=CONTENTS)
    def publish(self, name: str, kind: ModelKind, content: bytes) -> None:
        folder = self.root / "source"
        folder.mkdir(exist_ok=True)
        (folder / "n").write_bytes(content)
        model = self.models[name]
        if model.alive and model.kind != kind:
            with pytest.raises(FailedPrecondition):
                self.registry.publish(name, kind, folder)
            return
        version = self.registry.publish(name, kind, folder)
        model.published += 1
        model.alive, model.kind = True, kind
        model.versions[model.published] = content
        assert version.version == model.published

    @rule(name=NAMES, alias=ALIASES, number=NUMBERS)
    def set_alias(self, name: str, alias: str, number: int) -> None:
        model = self.models[name]
        if number not in model.versions:
            with pytest.raises(NotFound):
                self.registry.set_alias(name, alias, number)
            return
        self.registry.set_alias(name, alias, number)
        model.aliases[alias] = number

    @rule(name=NAMES, alias=ALIASES)
    def delete_alias(self, name: str, alias: str) -> None:
        model = self.models[name]
        if alias not in model.aliases:
            with pytest.raises(NotFound):
                self.registry.delete_alias(name, alias)
            return
        self.registry.delete_alias(name, alias)
        del model.aliases[alias]

    @rule(name=NAMES, number=NUMBERS, force=st.booleans())
    def delete_version(self, name: str, number: int, force: bool) -> None:
        model = self.models[name]
        if number not in model.versions:
            with pytest.raises(NotFound):
                self.registry.delete_version(name, number, force=force)
        elif number in model.aliases.values() and not force:
            with pytest.raises(FailedPrecondition):
                self.registry.delete_version(name, number)
        else:
            self.registry.delete_version(name, number, force=force)
            del model.versions[number]
            model.aliases = {a: n for a, n in model.aliases.items() if n != number}

    @rule(name=NAMES, force=st.booleans())
    def delete_model(self, name: str, force: bool) -> None:
        model = self.models[name]
        if not model.alive:
            with pytest.raises(NotFound):
                self.registry.delete_model(name, force=force)
        elif model.aliases and not force:
            with pytest.raises(FailedPrecondition):
                self.registry.delete_model(name)
        else:
            self.registry.delete_model(name, force=force)
            self.models[name] = Expected(published=model.published)

    @rule()
    def collect(self) -> None:
        now = datetime.now(UTC) + timedelta(hours=2)
        self.registry.collect_garbage(grace=timedelta(0), now=now)
        live = {
            file.digest
            for model in self.registry.list_models().items
            for version in self.registry.list_versions(model.name).items
            for file in version.files
        }
        assert set(self.registry.blobs.digests()) == live

    @rule()
    def reopen(self) -> None:
        self.registry.close()
        self.registry = Registry.open(self.root / "data")

    @invariant()
    def every_name_means_what_it_should(self) -> None:
        listed = {model.name: model for model in self.registry.list_models().items}
        assert set(listed) == {name for name, model in self.models.items() if model.alive}
        for name, model in self.models.items():
            self.check(name, None, model.aliases.get("default", max(model.versions, default=None)))
            for alias in ("default", "production"):
                self.check(name, alias, model.aliases.get(alias))
            if name in listed:
                assert listed[name].aliases == model.aliases
                assert listed[name].latest_version == max(model.versions, default=None)
                found = self.registry.list_versions(name).items
                assert [v.version for v in found] == sorted(model.versions, reverse=True)

    def check(self, name: str, alias: str | None, number: int | None) -> None:
        ref = name if alias is None else f"{name}@{alias}"
        if number is None:
            with pytest.raises(NotFound):
                self.registry.resolve(ref)
            return
        version = self.registry.resolve(ref)
        assert version.version == number
        with self.registry.open_file(version, "n") as stream:
            assert stream.read() == self.models[name].versions[number]


RegistryMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("STILLROOM_EXAMPLES", "4")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestRegistry = RegistryMachine.TestCase
