"""Which uploads a stored request reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def mentioned(value: Any) -> Iterator[str]:
    """The name in every ``upload`` of a JSON value, however deep."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key == "upload" and isinstance(inner, str):
                yield inner
            else:
                yield from mentioned(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from mentioned(inner)
