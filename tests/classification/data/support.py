"""What the tests of labeled data share."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from stillroom_registry.errors import InvalidArgument, StillroomError
from stillroom_server.classification.data.examples import DataLimits, Examples, read
from stillroom_server.security.paths import AllowedRoots

Made = TypeVar("Made")


class Recorder:
    """A context that remembers what it was told, and does something when it is asked to stop."""

    def __init__(self, on_check: Callable[[int], None] = lambda number: None) -> None:
        self.told: list[tuple[str, int, int, str]] = []
        self.checks = 0
        self._on_check = on_check

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        self.told.append((phase, done, total, unit))

    def check_cancelled(self) -> None:
        self.checks += 1
        self._on_check(self.checks)


@dataclass(frozen=True)
class Choices:
    """What ``prepare`` asks of options."""

    multi_label: bool = False
    conflicts: str = "keep"


def from_file(
    path: Path,
    *,
    multi_label: bool = False,
    context: Recorder | None = None,
    limits: DataLimits | None = None,
    workspace: Path | None = None,
    **format_: str,
) -> Examples:
    return read(
        {"path": str(path), "format": format_},
        workspace or path.parent / "workspace",
        multi_label=multi_label,
        context=context or Recorder(),
        roots=AllowedRoots([path.parent]),
        limits=limits,
    )


def from_bytes(data: bytes, folder: Path, name: str = "data.csv", **more: Any) -> Examples:
    """Each time in a workspace of its own, as another operation would."""
    path = folder / name
    path.write_bytes(data)
    return from_file(path, workspace=Path(tempfile.mkdtemp(dir=folder)), **more)


def inline(
    examples: Sequence[tuple[str, Sequence[str]]], *, multi_label: bool = False, **more: Any
) -> Examples:
    source: Mapping[str, Any] = {"examples": [[text, list(labels)] for text, labels in examples]}
    return read(source, Path("/nowhere"), multi_label=multi_label, context=Recorder(), **more)


def single(*pairs: tuple[str, str]) -> Examples:
    return inline([(text, [label]) for text, label in pairs])


def pairs_of(examples: Examples) -> list[tuple[str, tuple[str, ...]]]:
    return list(zip(examples.texts, examples.labels, strict=True))


def tried(action: Callable[[], Made]) -> Made | InvalidArgument:
    """What ``action`` makes, or how it refuses."""
    try:
        return action()
    except InvalidArgument as error:
        return error


def refused(reason: str, action: Callable[[], Any]) -> StillroomError:
    """The error that ``action`` raises, for ``reason``."""
    with pytest.raises(StillroomError) as caught:
        action()
    assert caught.value.reason == reason, caught.value
    return caught.value
