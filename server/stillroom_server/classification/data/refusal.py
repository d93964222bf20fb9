"""How bad data are refused: under the request's field, with the place in the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from stillroom_registry.errors import InvalidArgument, ResourceExhausted

_SHOWN = 20
_MOST_CHARACTERS = 80


class Refusal:
    """Refuses data under ``field``. ``unit`` is what places in it are called (``line``, ``row``),
    ``file`` what the file is called, where there are several."""

    def __init__(self, field: str, unit: str = "line", file: str = "") -> None:
        self.field = field
        self.unit = unit
        self.file = file

    def __call__(self, problem: str, reason: str, number: int | None = None) -> NoReturn:
        """Raises InvalidArgument; ``number`` counts lines and rows from 1."""
        place = [] if number is None else [f"{self.unit} {number:,}"]
        where = ", ".join([*([self.file] if self.file else []), *place])
        metadata = {} if number is None else {self.unit: str(number)}
        if self.file:
            metadata["file"] = self.file
        raise InvalidArgument(
            f"{where}: {problem}" if where else problem,
            reason=reason,
            field=self._field_of(number),
            metadata=metadata,
        )

    def column_missing(self, name: str, there: Sequence[str], field: str) -> NoReturn:
        """Refuses the choice of column, in ``field``."""
        raise InvalidArgument(
            f"{self.file + ': ' if self.file else ''}there is no column {shown(name)}; there are "
            f"{listed(there)}",
            reason="COLUMN_MISSING",
            field=field,
        )

    def _field_of(self, number: int | None) -> str:
        del number
        return self.field


class InlineRefusal(Refusal):
    """Refuses examples of the request itself, each under its own field; they count from 0."""

    def __init__(self, field: str) -> None:
        super().__init__(field, "example")

    def _field_of(self, number: int | None) -> str:
        values = f"{self.field}.examples"
        return values if number is None else f"{values}.values[{number}]"


def too_large(what: str, field: str) -> ResourceExhausted:
    """The error for data beyond a limit."""
    return ResourceExhausted(
        f"the data have more than {what}; give a sample of them",
        reason="DATA_TOO_LARGE",
        field=field,
    )


def shown(value: str) -> str:
    """``value`` quoted, and cut where it is long."""
    cut = "..." if len(value) > _MOST_CHARACTERS else ""
    return f"{value[:_MOST_CHARACTERS]!r}{cut}"


def listed(values: Sequence[str]) -> str:
    """Some of ``values``, quoted."""
    more = ", ..." if len(values) > _SHOWN else ""
    return (", ".join(map(shown, values[:_SHOWN])) + more) or "none"
