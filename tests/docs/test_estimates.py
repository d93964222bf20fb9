"""docs/estimates.md and docs/registry.md against the command line and the client."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from docs import pages
from stillroom import Client, workloads
from stillroom.cli.app import app
from stillroom.copies import Copied
from stillroom.costs import Candidate, Estimate, Figure, Recommendation, Rejected
from stillroom_server.settings import Settings

ESTIMATES, REGISTRY = (pages.ROOT / "docs" / name for name in ("estimates.md", "registry.md"))
ROOT: Any = typer.main.get_command(app)


def every_command(command: Any) -> Iterator[Any]:
    yield command
    for inner in getattr(command, "commands", {}).values():
        yield from every_command(inner)


def flags(*commands: Any) -> set[str]:
    return {
        name
        for command in commands
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--")
    }


@pytest.mark.parametrize("page", [ESTIMATES, REGISTRY], ids=lambda page: page.name)
def test_flags_in_the_text_exist(page: Any) -> None:
    said = set(re.findall(r"--[a-z][a-z-]+[a-z]", page.read_text()))
    assert said <= flags(*every_command(ROOT))


def test_settings_in_the_text_exist() -> None:
    said = set(re.findall(r"`(cost_\w+)`", ESTIMATES.read_text()))
    assert said
    assert said <= set(Settings.model_fields)


# What the names of the examples are.
KINDS = {
    "client": Client,
    "workloads": workloads,
    "estimate": Estimate,
    "figure": Figure,
    "found": Recommendation,
    "way": Candidate,
    "rejected": Rejected,
    "copied": Copied,
}


def test_attributes_in_the_examples_exist() -> None:
    seen = set()
    for block in pages.blocks("python", [ESTIMATES, REGISTRY]):
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                kind = KINDS.get(node.value.id)
                if kind is not None:
                    known = {*dir(kind), *getattr(kind, "__dataclass_fields__", ())}
                    assert node.attr in known, f"{node.value.id}.{node.attr}"
                    seen.add(node.value.id)
    assert seen == KINDS.keys()
