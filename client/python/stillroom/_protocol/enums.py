"""Enum values by the words that people use for them: ``float16``, ``teacher``, ``mean``."""

from __future__ import annotations

from typing import Protocol

from stillroom.errors import InvalidArgument


class Enum(Protocol):
    """What protobuf's enum wrappers have in common."""

    def keys(self) -> list[str]: ...
    def Value(self, name: str) -> int: ...  # noqa: N802
    def Name(self, number: int) -> str: ...  # noqa: N802


def number(enum: object, word: str | None, field: str) -> int:
    """The number of ``word`` (0 for None); InvalidArgument on ``field`` lists the words."""
    if word is None:
        return 0
    wrapper: Enum = enum  # type: ignore[assignment]  # stubs give wrappers differing generics
    words = {_word(name, wrapper): name for name in wrapper.keys()[1:]}
    key = word.lower() if isinstance(word, str) else word
    if key not in words:
        raise InvalidArgument(
            f"{field} is {word!r}; it must be one of {', '.join(words)}",
            reason="UNKNOWN_VALUE",
            field=field,
        )
    return wrapper.Value(words[key])


def word(enum: object, value: int) -> str:
    """The word of ``value``; its digits when a newer server sent a value unknown here."""
    wrapper: Enum = enum  # type: ignore[assignment]
    try:
        return _word(wrapper.Name(value), wrapper)
    except ValueError:
        return str(value)


def _word(name: str, wrapper: Enum) -> str:
    zero = wrapper.keys()[0]
    return name.removeprefix(zero.removesuffix("UNSPECIFIED")).lower()
