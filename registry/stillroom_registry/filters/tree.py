"""What a filter says, as a tree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from stillroom_registry.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Comparison:
    """``path`` are the parts of the field's name; positions count characters from 1."""

    path: tuple[str, ...]
    comparator: str
    value: str
    position: int
    value_position: int


@dataclass(frozen=True, slots=True)
class Not:
    term: Tree


@dataclass(frozen=True, slots=True)
class And:
    terms: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Or:
    terms: tuple[Tree, ...]


Tree: TypeAlias = Comparison | Not | And | Or


def bad_filter(position: int, problem: str) -> InvalidArgument:
    """The error for a filter, naming the place; ``problem`` is a clause about what is there."""
    return InvalidArgument(
        f"The filter is wrong at character {position}: {problem}.",
        reason="BAD_FILTER",
        field="filter",
        metadata={"position": str(position)},
    )
