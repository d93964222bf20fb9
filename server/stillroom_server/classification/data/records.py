"""Examples of a JSON Lines file: an object a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stillroom_server.classification.data.collecting import Collector
from stillroom_server.classification.data.columns import Fields, text_column
from stillroom_server.classification.data.decoding import decoded, told_now_and_then
from stillroom_server.classification.data.refusal import Refusal, shown
from stillroom_server.classification.data.source import Layout


class _Digits(str):
    """A number as it stands in the file."""

    __slots__ = ()


def _no_number(name: str) -> Any:
    raise ValueError(name)


_DECODER = json.JSONDecoder(parse_int=_Digits, parse_float=_Digits, parse_constant=_no_number)


def read_jsonl(
    path: Path,
    layout: Layout,
    fields: Fields,
    collector: Collector,
    refuse: Refusal,
    told: Callable[[int], None],
    *,
    multi_label: bool,
) -> None:
    """Adds the objects of the file to ``collector``; blank lines are passed over. A text of null is
    an empty one; labels are a string, a number (read as its digits) or a list of them, and null or
    (multi-label) a missing key is no label.

    Raises InvalidArgument: COLUMN_MISSING where no object has the key, ROW_SHAPE, ENCODING, and
    what ``Collector.add`` raises.
    """
    chosen: str | None = None
    labeled = False
    seen: dict[str, None] = {}
    with decoded(path, refuse, newline="\n") as lines:
        row_done = told_now_and_then(lines, told)
        for line in lines:
            if not line.strip():
                continue
            number = lines.number
            record = _parsed(line, refuse, number)
            if not labeled:
                seen.update(dict.fromkeys(list(record)[:100]))
            if chosen is None:
                texts = [name for name, value in record.items() if type(value) is str]
                chosen = text_column(layout, list(record), texts, fields, refuse)
            if chosen not in record:
                refuse(f"the object has no {shown(chosen)}", "ROW_SHAPE", number)
            if layout.label in record:
                labeled = True
            elif not multi_label:
                if not labeled:
                    refuse.column_missing(layout.label, list(seen), fields.label)
                refuse(f"the object has no {shown(layout.label)}", "LABEL_MISSING", number)
            text = record[chosen]
            if text is not None and type(text) is not str:
                refuse(f"{shown(chosen)} is no text", "ROW_SHAPE", number)
            labels = _labels(record.get(layout.label), layout.label, refuse, number)
            collector.add(text or "", labels, refuse, number)
            row_done()
    if seen and not labeled:
        refuse.column_missing(layout.label, list(seen), fields.label)


def _parsed(line: str, refuse: Refusal, number: int) -> dict[str, Any]:
    try:
        record = _DECODER.decode(line)
    except (ValueError, RecursionError):
        refuse("it is no JSON", "ROW_SHAPE", number)
    if not isinstance(record, dict):
        refuse("it is no JSON object", "ROW_SHAPE", number)
    return record


def _labels(value: Any, name: str, refuse: Refusal, number: int) -> Sequence[str]:
    if isinstance(value, str):
        return (str(value),)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        refuse(
            f"{shown(name)} is neither a string nor a number nor a list of them",
            "ROW_SHAPE",
            number,
        )
    return [str(label) for label in value]
