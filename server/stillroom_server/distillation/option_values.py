"""What the options of every recipe have in common: how they are read, and how they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

from stillroom_registry.errors import InvalidArgument

T = TypeVar("T")


def given_options(kind: type[Any], value: object, path: str) -> dict[str, Any]:
    """The options in a JSON object, by the names that the dataclass ``kind`` has. Raises
    InvalidArgument whose field begins with ``path``."""
    if not isinstance(value, Mapping):
        raise InvalidArgument("the options are not an object", field=path)
    names = {field.name for field in fields(kind)}
    for name in value:
        if name not in names:
            raise InvalidArgument(
                f"no option is called {name!r}; there are {', '.join(sorted(names))}",
                reason="UNKNOWN_OPTION",
                field=f"{path}.{name}",
            )
    return dict(value)


def made(kind: type[T], values: Mapping[str, Any], path: str) -> T:
    """``kind`` of ``values``; a refusal's field gets ``path`` before it."""
    try:
        return kind(**values)
    except InvalidArgument as error:
        error.field = f"{path}.{error.field}"
        raise


def is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_seed(value: object) -> None:
    """Raises InvalidArgument (field seed) unless it is an unsigned 64-bit integer."""
    if not (isinstance(value, int) and is_int(value) and 0 <= value < 2**64):
        refuse("seed", f"{value!r} is not an unsigned 64-bit integer")


def refuse(name: str, why: str) -> NoReturn:
    """Raises InvalidArgument with the field ``name``."""
    raise InvalidArgument(f"{name}: {why}", field=name)
