"""From what is said about data, and a look at them, to facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillroom_server.cost.assumptions import Given, Source
from stillroom_server.cost.facts import DataFacts
from stillroom_server.cost.looking.look import Look
from stillroom_server.cost.reading import count, number, refuse

_PART = "a part of the data was looked at"


@dataclass(frozen=True, slots=True)
class Described:
    """What a request says data are like; 0 is not said."""

    texts: int = 0
    tokens_per_text: float = 0.0
    total_bytes: int = 0
    labels: int = 0

    @classmethod
    def from_json(cls, value: Mapping[str, Any], field: str = "data") -> Described:
        """Of a DataStatistics in JSON. Raises InvalidArgument on its fields, under ``field``."""
        labels = count(value, "labels", field)
        if labels == 1:
            refuse(f"{field}.labels", "there is nothing to tell apart with a single label")
        return cls(
            texts=count(value, "texts", field),
            tokens_per_text=number(value, "tokens_per_text", field) or 0.0,
            total_bytes=count(value, "total_bytes", field),
            labels=labels,
        )


NOTHING = Described()
"""Nothing is said."""


def data_facts(described: Described, look: Look | None, tokens_per_byte: float | None) -> DataFacts:
    """``described`` stands in place of the ``look``; what neither tells is not known."""
    seen = look is not None
    note = "" if look is None or look.whole else _PART

    def given(said: float, found: float | None) -> Given | None:
        if said:
            return Given(said, Source.REQUEST)
        return None if found is None else Given(found, Source.DATA, note)

    tokens = None
    if look is not None and tokens_per_byte is not None:
        tokens = look.bytes_per_text * tokens_per_byte
    return DataFacts(
        texts=given(described.texts, look.texts if look else None),
        tokens_per_text=given(described.tokens_per_text, tokens),
        total_bytes=given(described.total_bytes, look.source_bytes if look else None),
        labels=given(described.labels, look.labels if look else None),
        sampled=seen and look is not None and not look.whole,
    )
