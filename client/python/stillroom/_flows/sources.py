"""Checks of the arguments that say where something comes from."""

from __future__ import annotations

from collections.abc import Mapping

from stillroom.errors import InvalidArgument


def check_one(sources: Mapping[str, object], field: str) -> None:
    """Exactly one of ``sources``, by the names of their arguments, is not None. InvalidArgument
    names the second one, or ``field`` where none is given."""
    given = [word for word, value in sources.items() if value is not None]
    if len(given) != 1:
        what = f"{' and '.join(given)} are" if given else "none is"
        raise InvalidArgument(
            f"give exactly one of {', '.join(sources)}; {what} given",
            reason="ONE_SOURCE",
            field=given[1] if given else field,
        )


def check_details(details: Mapping[str, object], dataset: str | None) -> None:
    """None of ``details`` is given without the ``dataset`` that it is about."""
    stray = [word for word, value in details.items() if value is not None and dataset is None]
    if stray:
        raise InvalidArgument(f"{stray[0]} goes with dataset", field=stray[0])
