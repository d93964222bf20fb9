"""A value that must not be printed."""

from __future__ import annotations

import hmac
from typing import NoReturn, Self

STARS = "********"


class Secret:
    """Text that shows as stars wherever it is printed, formatted, logged or serialized; only
    ``reveal`` answers it. Equal to another Secret of the same text, compared in constant time."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """The text itself, for the one call that needs it."""
        return self.__value

    def __repr__(self) -> str:
        return f"Secret({STARS})"

    def __str__(self) -> str:
        return STARS

    def __format__(self, spec: str) -> str:
        return STARS

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(
            self.__value.encode(errors="surrogatepass"),
            other.__value.encode(errors="surrogatepass"),
        )

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not serialized; pass what it reveals where that is safe")
