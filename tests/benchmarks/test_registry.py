"""The benchmark of the registry, on a small one: that it measures what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import registry, registry_data
from benchmarks.data import Data
from benchmarks.knobs import Knobs
from stillroom_registry.registry import Registry

KNOBS = Knobs(package="p", teacher=Path("teacher"), rounds=1, warm_up=0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (registry, registry_data):
        monkeypatch.setattr(module, "MODELS", 60)
        monkeypatch.setattr(module, "VERSIONS", 3)
    for name, value in (("FILE_BYTES", 100_000), ("SECONDS", 0.3), ("PAGES", 5), ("WRITERS", 2)):
        monkeypatch.setattr(registry, name, value)


@pytest.mark.usefixtures("small")
def test_it_measures_publishing_resolving_and_listing() -> None:
    said: list[str] = []
    found = registry.run(KNOBS, Data(Path()), said.append)
    met = {target.what: target.met for target in found.targets}
    assert met["versions of one model by 2 writers"]
    assert met["errors of the writers"]
    assert found.values["versions_written"] > 0
    assert found.values["alone"]["resolve"]["count"] > 0
    assert found.values["publishing"]["one file"]["ratio"] > 0
    assert [len(table.rows) for table in found.tables] == [2, 10]
    assert said


@pytest.mark.usefixtures("small")
def test_the_rows_written_in_bulk_are_a_registry(tmp_path: Path) -> None:
    registry_data.fill(tmp_path / "data")
    opened = Registry.open(tmp_path / "data")
    models = opened.list_models(1000).items
    assert len(models) == 60
    for model in models:
        assert model.latest_version == 3
        version = opened.resolve(f"{model.name}@production")
        assert version.size == sum(file.size for file in version.files)
    assert opened.usage().used_bytes == 180 * models_size()
    opened.close()


def models_size() -> int:
    return sum(registry_data._FILES.values())


def test_it_needs_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STILLROOM_BENCH_DATA", raising=False)
    ran: list[str] = []
    monkeypatch.setattr(command, "_measure", lambda names, *_: ran.extend(names) or 0)
    assert command.main(["registry"]) == 0
    assert ran == ["registry"]
    assert command.main(["registry", "classify"]) == command.USAGE
