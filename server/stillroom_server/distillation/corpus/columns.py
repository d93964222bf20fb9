"""Which column of a table holds the texts."""

from __future__ import annotations

from collections.abc import Sequence

from stillroom_registry.errors import InvalidArgument

USUAL_COLUMN = "text"
_SHOWN = 20


def choose_column(
    wanted: str | None, columns: Sequence[str], text_columns: Sequence[str], field: str
) -> str:
    """``wanted``; None: ``text``, or the only one of ``text_columns``, those that may hold texts.

    Raises InvalidArgument (CORPUS_COLUMN_UNKNOWN, CORPUS_NOT_TEXT) that names the columns.
    """
    name = wanted or (USUAL_COLUMN if USUAL_COLUMN in columns else None)
    if name is None and len(text_columns) == 1:
        name = text_columns[0]
    there = ", ".join(repr(column[:80]) for column in columns[:_SHOWN]) or "none"
    if name is None or name not in columns:
        missing = "no column is named" if name is None else f"there is no column {name[:80]!r}"
        raise InvalidArgument(
            f"{missing}; name the one that holds the texts: {there}",
            reason="CORPUS_COLUMN_UNKNOWN",
            field=field,
        )
    if name not in text_columns:
        raise InvalidArgument(
            f"the column {name[:80]!r} does not hold texts; there are {there}",
            reason="CORPUS_NOT_TEXT",
            field=field,
        )
    return name
