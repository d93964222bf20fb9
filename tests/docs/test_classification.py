"""docs/classification.md against the options of the client and the limits of the server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from serving import Serving

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


@pytest.mark.slow
def test_the_python_runs(
    server: Serving,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """README's training, then what this page does with the classifier."""
    monkeypatch.setenv("STILLROOM_TARGET", server.address)
    monkeypatch.chdir(tmp_path)
    rows = [f"my card {index},arrival\nhelp me {index},other" for index in range(20)]
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text("\n".join(["text,label", *rows, ""]))
    readme = pages.ROOT / "README.md"
    python = pages.blocks("python", [readme, PAGE])
    exec(next(b.text for b in python if b.page == readme and "train_classifier" in b.text), {})
    assert capsys.readouterr().out.startswith("100.0% of 40 texts\narrival ")
    exec(next(b.text for b in python if b.page == PAGE and "classify_stream" in b.text), {})
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("['arrival', ")
    assert said[-1].startswith("768 1000 ")
    measure = next(b.text for b in python if b.page == PAGE and "evaluate_classifier" in b.text)
    exec(measure.replace("intents@2", "intents@1"), {})
    assert capsys.readouterr().out == "100.0%, 1.000\n"
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
