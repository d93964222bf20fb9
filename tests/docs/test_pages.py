"""Links lead somewhere, tables are as the code has them, and every document is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import pages, tables

EXPECTED = {
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md"),
    *("architecture.md", "protocol.md", "operating.md", "model-format.md"),
}


def test_every_document_is_there() -> None:
    assert {page.name for page in pages.PAGES} >= EXPECTED


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in pages.links(page):
        target, _, anchor = link.partition("#")
        if target.startswith("https://"):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in pages.anchors(file), f"{page.name}: {link}"


def test_generated_tables_are_fresh() -> None:
    page = tables.PAGE.read_text()
    assert page == tables.rendered(page), "run: .venv/bin/python tests/docs/tables.py"


def test_operating_names_every_setting_by_its_flag() -> None:
    from stillroom_server.settings import Settings

    text = tables.PAGE.read_text()
    for name in Settings.model_fields:
        assert f"`--{name.replace('_', '-')}`" in text


def test_paths_in_the_architecture_exist() -> None:
    page = pages.ROOT / "docs" / "architecture.md"
    server = pages.ROOT / "server" / "stillroom_server"
    registry = pages.ROOT / "registry" / "stillroom_registry"
    for name in re.findall(r"`([\w/.-]+(?:\.py|/))`", page.read_text()):
        places = [folder / name for folder in (pages.ROOT, server, registry)]
        assert any(place.exists() for place in places), name


def test_the_changelog_keeps_its_form() -> None:
    heads = re.findall(r"^## (.+)$", (pages.ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heads
    assert all(re.match(r"\[(Unreleased|\d+\.\d+\.\d+)\]", head) for head in heads)
