"""Examples of a dataset of the Hub: its files are downloaded, then read file after file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

from stillroom_registry.errors import ResourceExhausted
from stillroom_registry.storage import storage_errors
from stillroom_server.classification.data.collecting import Collector
from stillroom_server.classification.data.columns import Fields
from stillroom_server.classification.data.parquet import read_parquet
from stillroom_server.classification.data.records import read_jsonl
from stillroom_server.classification.data.refusal import Refusal, too_large
from stillroom_server.classification.data.source import HubSource
from stillroom_server.classification.data.tables import read_table
from stillroom_server.distillation.corpus.dataset import Dataset, Fetched
from stillroom_server.distillation.corpus.formats import Format, format_of
from stillroom_server.hub.access import HubAccess

_CHUNK = 1 << 20
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"


def read_dataset(
    source: HubSource,
    folder: Path,
    collector: Collector,
    *,
    multi_label: bool,
    field: str,
    hub: HubAccess,
    limit: int,
    told: Callable[[int, int], None],
) -> None:
    """Adds the examples of the split to ``collector``. What was downloaded stays in ``folder``,
    with the commit that the revision meant, so that a later attempt reads the same.

    ``told`` gets bytes done and in all, half of them downloading; it may raise to stop. Raises what
    ``Dataset.fetch`` and the readers raise; ResourceExhausted (DATA_TOO_LARGE).
    """
    dataset = Dataset(source.dataset, folder, hub, field=f"{field}.dataset", limit=limit)
    try:
        files = dataset.fetch(lambda done, total: told(done, 2 * total))
    except ResourceExhausted as error:
        if error.reason != "CORPUS_TOO_LARGE":
            raise
        raise too_large(f"{limit:,} bytes", field) from error
    fields = Fields(f"{field}.dataset.column", f"{field}.format.label_column")
    total = done = sum(file.size for file in files)

    def within(position: int) -> None:
        told(min(done + position, 2 * total), 2 * total)

    left = limit
    for file in files:
        refuse = Refusal(field, file=file.name)
        path = file.path
        if _head(path)[:2] == _GZIP:
            path = _unpacked(file, left, field, refuse, within)
            left -= path.stat().st_size
        _read(path, file.name, source, fields, collector, refuse, within, multi_label=multi_label)
        done += file.size


def _read(
    path: Path,
    name: str,
    source: HubSource,
    fields: Fields,
    collector: Collector,
    refuse: Refusal,
    told: Callable[[int], None],
    *,
    multi_label: bool,
) -> None:
    layout = source.layout
    if _head(path) == _PARQUET:
        rows = Refusal(refuse.field, "row", name)
        read_parquet(path, layout, fields, collector, rows, told)
        return
    match format_of(name):
        case Format.JSONL:
            read_jsonl(path, layout, fields, collector, refuse, told, multi_label=multi_label)
        case Format.CSV:
            read_table(path, layout, ",", fields, collector, refuse, told)
        case Format.TSV:
            read_table(path, layout, "\t", fields, collector, refuse, told)
        case Format.PARQUET:
            refuse("it is no Parquet file", "DATA_CORRUPT")
        case _:
            refuse("a file of plain text has no column of labels", "COLUMN_MISSING")


def _unpacked(
    file: Fetched, limit: int, field: str, refuse: Refusal, told: Callable[[int], None]
) -> Path:
    """The file without its gzip; one of a few megabytes can hold terabytes."""
    target = file.path.with_name(f"{file.path.name}.plain")
    done = 0
    with storage_errors(), file.path.open("rb") as packed, target.open("wb") as stream:
        plain = gzip.GzipFile(fileobj=packed)
        try:
            while chunk := plain.read(_CHUNK):
                done += len(chunk)
                if done > limit:
                    raise too_large(f"{limit:,} bytes, unpacked", field)
                stream.write(chunk)
                told(0)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            refuse("its gzip stream is damaged or cut short", "DATA_CORRUPT")
    return target


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(4)
