"""The registry against a simple model of it, in random order of operations.

``STILLROOM_STEPS`` sets how many steps are tried in all (default 1,000), in histories of 50.
"""

from __future__ import annotations

import hashlib
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

from stillroom_registry.errors import Aborted, DataLoss, FailedPrecondition, NotFound
from stillroom_registry.registry import ModelKind, Registry

NAMES = st.sampled_from(["a", "b"])
ALIASES = st.sampled_from(["default", "production"])
NUMBERS = st.integers(1, 6)
CONTENTS = st.sampled_from([b"x", b"y", b"z"])
TEXTS = st.sampled_from(["", "one", "two"])
KINDS = st.sampled_from(list(ModelKind))


STEPS, LENGTH = int(os.environ.get("STILLROOM_STEPS", "1000")), 50


@dataclass
class Expected:
    """A model as it should be. ``before`` is where each alias was before its last move."""

    alive: bool = False
    kind: ModelKind = ModelKind.STUDENT
    published: int = 0
    description: str = ""
    versions: dict[int, bytes] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    before: dict[str, int | None] = field(default_factory=dict)

    def move(self, alias: str, number: int | None) -> None:
        now = self.aliases.pop(alias, None)
        if now != number:
            self.before[alias] = now
        if number is not None:
            self.aliases[alias] = number


class RegistryMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.registry = Registry.open(self.root / "data")
        self.models = {"a": Expected(), "b": Expected()}
        # Contents whose blob is damaged, and those of which the registry knows it.
        self.damaged: set[bytes] = set()
        self.quarantined: set[bytes] = set()

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
        self.damaged.discard(content)
        self.quarantined.discard(content)
        assert version.version == model.published

    @rule(name=NAMES, alias=ALIASES, number=NUMBERS)
    def set_alias(self, name: str, alias: str, number: int) -> None:
        model = self.models[name]
        if number not in model.versions:
            with pytest.raises(NotFound):
                self.registry.set_alias(name, alias, number)
            return
        self.registry.set_alias(name, alias, number)
        model.move(alias, number)

    @rule(name=NAMES, alias=ALIASES)
    def roll_back(self, name: str, alias: str) -> None:
        model = self.models[name]
        if not model.alive or alias not in model.before:
            with pytest.raises(NotFound):
                self.registry.roll_back_alias(name, alias)
        elif model.before[alias] not in model.versions:
            with pytest.raises(FailedPrecondition):
                self.registry.roll_back_alias(name, alias)
        else:
            assert self.registry.roll_back_alias(name, alias).version == model.before[alias]
            model.move(alias, model.before[alias])

    @rule(name=NAMES, text=TEXTS, stale=st.booleans())
    def update(self, name: str, text: str, stale: bool) -> None:
        model = self.models[name]
        if not model.alive:
            with pytest.raises(NotFound):
                self.registry.update_model(name, description=text)
            return
        etag = "stale" if stale else self.registry.get_model(name).etag
        if stale:
            with pytest.raises(Aborted):
                self.registry.update_model(name, description=text, etag=etag)
            return
        assert self.registry.update_model(name, description=text, etag=etag).description == text
        model.description = text

    @rule(name=NAMES, alias=ALIASES)
    def delete_alias(self, name: str, alias: str) -> None:
        model = self.models[name]
        if alias not in model.aliases:
            with pytest.raises(NotFound):
                self.registry.delete_alias(name, alias)
            return
        self.registry.delete_alias(name, alias)
        model.move(alias, None)

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
            for alias in [a for a, n in model.aliases.items() if n == number]:
                model.move(alias, None)

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
            for alias in list(model.aliases):
                model.move(alias, None)
            self.models[name] = Expected(published=model.published, before=model.before)

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
        kept = {content for model in self.models.values() for content in model.versions.values()}
        self.damaged &= kept
        self.quarantined &= kept
        assert self.registry.usage().used_bytes == len(kept)

    @rule(content=CONTENTS)
    def damage(self, content: bytes) -> None:
        path = self.registry.blobs.path("sha256:" + hashlib.sha256(content).hexdigest())
        if path.exists():
            path.chmod(0o600)
            path.write_bytes(b"!")
            self.damaged.add(content)

    @rule(name=NAMES, number=NUMBERS)
    def verify(self, name: str, number: int) -> None:
        content = self.models[name].versions.get(number)
        if content is None:
            return
        found = self.registry.verify(self.registry.get_version(name, number))
        assert bool(found.damaged) == (content in self.damaged)
        if found.damaged:
            self.quarantined.add(content)
        else:
            self.quarantined.discard(content)

    @rule(name=NAMES, number=NUMBERS)
    def folder(self, name: str, number: int) -> None:
        content = self.models[name].versions.get(number)
        if content is None:
            return
        version = self.registry.get_version(name, number)
        if content in self.quarantined:
            with pytest.raises(DataLoss):
                self.registry.folder(version)
            return
        found = (self.registry.folder(version) / "n").read_bytes()
        assert found == (b"!" if content in self.damaged else content)

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
                assert listed[name].description == model.description
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
        content = self.models[name].versions[number]
        if content in self.quarantined:
            with pytest.raises(DataLoss):
                self.registry.open_file(version, "n")
            return
        with self.registry.open_file(version, "n") as stream:
            assert stream.read() == (b"!" if content in self.damaged else content)


RegistryMachine.TestCase.settings = settings(
    max_examples=max(1, STEPS // LENGTH),
    stateful_step_count=LENGTH,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestRegistry = pytest.mark.slow(RegistryMachine.TestCase)
