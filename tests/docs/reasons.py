"""Every error reason in the server's source, read from its syntax trees, with its gRPC codes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from stillroom_registry import errors

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "server" / "stillroom_server", ROOT / "registry" / "stillroom_registry")
# A bad file is the fault of whoever hands it in, or of our own store.
_EITHER = {"INVALID_ARGUMENT", "DATA_LOSS"}
# Helpers that take the reason last, as ``reader.error(file, problem, reason)``.
_HELPERS = {"error": _EITHER, "_refuse": _EITHER}
_REASON = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


@cache
def codes_by_reason() -> dict[str, set[str]]:
    """The codes with which each reason is raised; empty where a caller chooses the class."""
    trees = [ast.parse(text) for text in _sources()]
    classes = _classes(trees)
    found: dict[str, set[str]] = {}
    for tree in trees:
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            for reason in _reasons(call):
                codes = found.setdefault(reason, set())
                codes |= classes.get(_name(call.func), set())
    return found


@cache
def words() -> set[str]:
    """Every word of the source that looks like a reason, docstrings included."""
    return {word for text in _sources() for word in re.findall(r"\b[A-Z][A-Z0-9_]+\b", text)}


@cache
def _sources() -> tuple[str, ...]:
    return tuple(path.read_text() for folder in PACKAGES for path in sorted(folder.rglob("*.py")))


def _classes(trees: list[ast.Module]) -> dict[str, set[str]]:
    """The codes of each error class by its name, subclasses of the rooms and helpers included."""
    codes = _HELPERS | {
        name: {value.default_reason}
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.StillroomError)
    }
    definitions = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    for definition in definitions:
        for base in map(_name, definition.bases):
            if base in codes:
                codes.setdefault(definition.name, codes[base])
    return codes


def _reasons(call: ast.Call) -> Iterator[str]:
    values = [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
    if not values and _name(call.func) in _HELPERS:
        values = call.args[-1:]
    for value in values:
        text = value.value if isinstance(value, ast.Constant) else None
        if isinstance(text, str) and _REASON.fullmatch(text):
            yield text


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
