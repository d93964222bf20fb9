"""Texts of a Parquet file, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.corpus.columns import choose_column
from stillroom_server.distillation.corpus.records import one_line

_BATCH_BYTES = 4 << 20
_MOST_ROWS = 2048


def read_parquet(
    stream: BinaryIO, column: str | None, field: str, on_share: Callable[[float], None]
) -> Iterator[list[str]]:
    """The texts of one column of strings; null ones count as blank. ``on_share`` is told the share
    of the rows read, in [0, 1]. ``stream`` must be seekable.

    Only that column is read, and of a row group only the pages that are needed next. Raises
    InvalidArgument (CORPUS_CORRUPT, CORPUS_COLUMN_UNKNOWN, CORPUS_NOT_TEXT).
    """
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False)
        schema = table.schema_arrow
        texts = [name for name in schema.names if _is_text(schema.field(name).type)]
        name = choose_column(column, schema.names, texts, field)
        rows, done = max(1, table.metadata.num_rows), 0
        for batch in table.iter_batches(_batch_rows(table.metadata), columns=[name]):
            yield [one_line(text or "") for text in batch.column(0).to_pylist()]
            done += batch.num_rows
            on_share(done / rows)
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's, not the file's
        raise InvalidArgument(
            "the Parquet file is damaged, or its texts are not UTF-8; write it again",
            reason="CORPUS_CORRUPT",
            field=field,
        ) from error


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _batch_rows(metadata: Any) -> int:
    """So many rows that a batch has about _BATCH_BYTES, by the longest rows of any row group."""
    widest = 1
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        widest = max(widest, group.total_byte_size // max(1, group.num_rows))
    return int(max(1, min(_MOST_ROWS, _BATCH_BYTES // widest)))
