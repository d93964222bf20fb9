"""Examples of a Parquet file of a dataset."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stillroom_server.classification.data.collecting import Collector
from stillroom_server.classification.data.columns import Fields, text_column
from stillroom_server.classification.data.refusal import Refusal, shown
from stillroom_server.classification.data.source import Layout

_BATCH = 2048


def read_parquet(
    path: Path,
    layout: Layout,
    fields: Fields,
    collector: Collector,
    refuse: Refusal,
    told: Callable[[int], None],
) -> None:
    """Adds the rows of the file to ``collector``. A text of null is an empty one. Labels are
    strings, numbers, lists of them or null; whole numbers that the datasets library calls a
    ClassLabel are read as the names that it gives them, a negative one as no label.

    Raises InvalidArgument: COLUMN_MISSING, ROW_SHAPE with the row, DATA_CORRUPT, and what
    ``Collector.add`` raises.
    """
    import pyarrow
    from pyarrow import parquet

    size = path.stat().st_size
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as table:
            schema = table.schema_arrow
            texts = [name for name in schema.names if _is_text(schema.field(name).type)]
            chosen = text_column(layout, schema.names, texts, fields, refuse)
            if chosen not in texts:
                refuse(f"the column {shown(chosen)} does not hold texts", "ROW_SHAPE")
            if layout.label not in schema.names:
                refuse.column_missing(layout.label, schema.names, fields.label)
            as_label = _Labels(_class_names(schema, layout.label), refuse)
            rows, done = max(1, table.metadata.num_rows), 0
            columns = list(dict.fromkeys([chosen, layout.label]))
            for batch in table.iter_batches(_BATCH, columns=columns):
                given = batch.column(layout.label).to_pylist()
                for text, value in zip(batch.column(chosen).to_pylist(), given, strict=True):
                    done += 1
                    collector.add(text or "", as_label(value, done), refuse, done)
                told(size * done // rows)
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the file's
        refuse("the Parquet file is damaged, or its texts are not UTF-8", "DATA_CORRUPT")


class _Labels:
    """Labels of a value, as strings."""

    def __init__(self, names: Sequence[str] | None, refuse: Refusal) -> None:
        self._names = names
        self._refuse = refuse

    def __call__(self, value: Any, row: int) -> Sequence[str]:
        values = value if isinstance(value, list) else [value]
        return [self._one(item, row) for item in values if not self._is_none(item)]

    def _is_none(self, value: Any) -> bool:
        return value is None or (self._names is not None and type(value) is int and value < 0)

    def _one(self, value: Any, row: int) -> str:
        if type(value) is int and self._names is not None:
            if value >= len(self._names):
                self._refuse(f"there is no label {value}", "ROW_SHAPE", row)
            return self._names[value]
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            self._refuse(
                "the label is neither a string nor a number nor a list of them", "ROW_SHAPE", row
            )
        return str(value)


def _class_names(schema: Any, column: str) -> Sequence[str] | None:
    """The names that the datasets library keeps for a column of whole numbers."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        feature = features[column]
        if isinstance(feature, list):  # a list of them, in either spelling
            feature = feature[0]
        elif "feature" in feature:
            feature = feature["feature"]
        names = feature["names"]
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    good = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return names if good else None


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
