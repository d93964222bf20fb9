"""docs/classification.md against the options of the client and the limits of the server."""

from __future__ import annotations

import re
from typing import Any

import typer

from docs import pages
from stillroom import Classification, Classifications, ClassifyOptions, TrainOptions
from stillroom.cli.app import app
from stillroom_server.classification import splits

PAGE = pages.ROOT / "docs" / "classification.md"
TEXT = PAGE.read_text()
NAMED = set(re.findall(r"\b[a-z_0-9]+\b", " ".join(re.findall(r"`([^`\n]+)`", TEXT))))
COMMANDS = ("train", "classify", "evaluate")


def test_every_option_of_a_training_is_named() -> None:
    assert set(TrainOptions.__annotations__) <= NAMED


def test_options_of_classifying_are_named() -> None:
    assert set(ClassifyOptions.__annotations__) - {"truncate", "embedding_element_type"} <= NAMED


def test_flags_exist() -> None:
    root: Any = typer.main.get_command(app)
    known = {name for word in COMMANDS for name in _flags(root.commands[word])}
    known |= set(_flags(root.commands["models"].commands["report"])) | {"--allow-root"}
    assert set(re.findall(r"--[a-z][a-z-]+[a-z]", TEXT)) <= known


def _flags(command: Any) -> list[str]:
    return [
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    ]


def test_attributes_exist() -> None:
    shown = set(re.findall(r"\bfound\.(\w+)", TEXT)) | set(re.findall(r"\bbatch\.(\w+)", TEXT))
    assert shown
    assert shown <= set(dir(Classifications)) | {"start", "stop"}
    fields = set(Classification.__dataclass_fields__)
    assert set(re.findall(r"\btext\.(\w+)", TEXT)) <= set(dir(Classification)) | fields


def test_limits() -> None:
    said = " ".join(TEXT.split())
    assert f"fewer than {splits._FEWEST_EXAMPLES:,} examples" in said
    assert f"fewer than {splits._FEWEST_A_LABEL} a label" in said
