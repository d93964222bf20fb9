"""From a source to examples: a copy first, then every row of it, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

from stillroom_server.classification.data.collecting import Collector, Examples
from stillroom_server.classification.data.columns import Fields
from stillroom_server.classification.data.copying import copied
from stillroom_server.classification.data.dataset import read_dataset
from stillroom_server.classification.data.inline import add_examples
from stillroom_server.classification.data.limits import DataLimits
from stillroom_server.classification.data.records import read_jsonl
from stillroom_server.classification.data.refusal import InlineRefusal, Refusal
from stillroom_server.classification.data.source import (
    FileFormat,
    FileSource,
    HubSource,
    InlineSource,
    check_source,
    parse_labeled,
)
from stillroom_server.classification.data.tables import read_table
from stillroom_server.distillation.context import Context
from stillroom_server.distillation.corpus.opening import open_allowed, open_own
from stillroom_server.distillation.corpus.source import PathSource
from stillroom_server.hub.access import HubAccess
from stillroom_server.security.paths import AllowedRoots

__all__ = ["PHASE", "DataLimits", "Examples", "check_source", "read"]

PHASE = "data"
_NOWHERE = AllowedRoots(())


def read(
    source: Mapping[str, Any],
    workspace: Path,
    *,
    multi_label: bool,
    context: Context,
    field: str = "data",
    roots: AllowedRoots = _NOWHERE,
    hub: HubAccess | None = None,
    limits: DataLimits | None = None,
) -> Examples:
    """The examples that ``source`` (JSON, see ``source.parse_labeled``) names. A copy of a file or
    dataset is kept in ``workspace``, a folder of its own; one that is there from an earlier attempt
    is read again, whatever became of the source.

    ``field`` is the request's, under which everything is refused; ``roots`` are the folders that a
    path may lie in, ``hub`` how the Hub is reached. Reports the phase ``data`` in bytes (inline: in
    examples), half of them copying.

    Raises InvalidArgument with a reason, a place and what to do, as ``parse_labeled``,
    ``read_table``, ``read_jsonl``, ``read_dataset`` and ``Collector`` do; Aborted (DATA_CHANGED);
    ResourceExhausted (DATA_TOO_LARGE, DISK_FULL); what ``AllowedRoots.open_file`` raises.
    """
    limits = limits or DataLimits()
    reading = _Reading(workspace, multi_label, field, limits, context)
    match parse_labeled(source, multi_label=multi_label, field=field):
        case InlineSource(examples):
            return reading.inline(examples)
        case FileSource() as file:
            return reading.file(file, roots)
        case HubSource() as dataset:
            return reading.dataset(dataset, hub or HubAccess())


class _Reading:
    def __init__(
        self,
        workspace: Path,
        multi_label: bool,
        field: str,
        limits: DataLimits,
        context: Context,
    ) -> None:
        self._workspace = workspace
        self._multi_label = multi_label
        self._field = field
        self._limits = limits
        self._context = context
        self._collector = Collector(limits, field, multi_label=multi_label)

    def inline(self, examples: tuple[Any, ...]) -> Examples:
        count = len(examples)
        add_examples(
            examples, self._collector, self._field, lambda done: self._told(done, count, "examples")
        )
        return self._collector.finish(InlineRefusal(self._field))

    def file(self, source: FileSource, roots: AllowedRoots) -> Examples:
        def opener() -> AbstractContextManager[BinaryIO]:
            if isinstance(source.file, PathSource):
                return open_allowed(roots, source.file.path, f"{self._field}.path")
            return open_own(source.file.file, f"{self._field}.upload")

        named = source.file
        what = ["path", named.path] if isinstance(named, PathSource) else ["upload", named.upload]
        path = copied(
            opener,
            self._workspace,
            json.dumps(what),
            limit=self._limits.max_bytes,
            field=self._field,
            told=lambda done, total: self._told(done, 2 * total),
        )
        size = path.stat().st_size
        refuse = Refusal(self._field)
        fields = Fields(f"{self._field}.format.text_column", f"{self._field}.format.label_column")

        def told(position: int) -> None:
            self._told(min(size + position, 2 * size), 2 * size)

        if source.format is FileFormat.JSONL:
            read_jsonl(
                path,
                source.layout,
                fields,
                self._collector,
                refuse,
                told,
                multi_label=self._multi_label,
            )
        else:
            read_table(path, source.layout, source.delimiter, fields, self._collector, refuse, told)
        told(size)
        return self._collector.finish(refuse)

    def dataset(self, source: HubSource, hub: HubAccess) -> Examples:
        read_dataset(
            source,
            self._workspace / "download",
            self._collector,
            multi_label=self._multi_label,
            field=self._field,
            hub=hub,
            limit=self._limits.max_bytes,
            told=self._told,
        )
        return self._collector.finish(Refusal(self._field))

    def _told(self, done: int, total: int, unit: str = "bytes") -> None:
        self._context.check_cancelled()
        self._context.progress(PHASE, done, total, unit=unit)
