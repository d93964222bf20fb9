"""Which column holds the texts, and which fields of the request choose columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillroom_server.classification.data.refusal import Refusal
from stillroom_server.classification.data.source import USUAL_TEXT, Layout


@dataclass(frozen=True)
class Fields:
    """The request's fields that choose the columns, for errors."""

    text: str
    label: str


def text_column(
    layout: Layout,
    names: Sequence[str],
    of_texts: Sequence[str],
    fields: Fields,
    refuse: Refusal,
) -> str:
    """The column of ``names`` that ``layout`` means; where it names none, ``text``, or the only one
    of ``of_texts``, those that may hold texts, beside the labels.

    Raises InvalidArgument (COLUMN_MISSING) that names the columns.
    """
    wanted = layout.text
    if wanted is None:
        others = [name for name in of_texts if name != layout.label]
        wanted = others[0] if USUAL_TEXT not in names and len(others) == 1 else USUAL_TEXT
    if wanted not in names:
        refuse.column_missing(wanted, names, fields.text)
    return wanted
