"""Labeled texts that a request brings or names, as the JSON of an operation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from stillroom.v1 import classification_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.data.collecting import Collector
from stillroom_server.classification.data.limits import DataLimits
from stillroom_server.classification.data.refusal import InlineRefusal
from stillroom_server.classification.data.source import check_source
from stillroom_server.operations.model import Json
from stillroom_server.rpc import corpora
from stillroom_server.rpc.json_messages import to_json
from stillroom_server.rpc.spool import Spool

_LINES = {"file_format": "LABELED_FILE_FORMAT_JSONL"}


class LabeledTexts:
    """Turns sources into JSON, reachable as far as can be told without reading them. Every error
    names the field at fault, which begins with the ``field`` given."""

    def __init__(self, texts: corpora.Texts) -> None:
        self._texts = texts

    def source(self, given: pb.LabeledData, spool: Spool, *, multi_label: bool, field: str) -> Json:
        """``{"examples"}``, ``{"path"}``, ``{"upload", "file", "filename"}`` or ``{"dataset"}``,
        perhaps with ``"format"``, as ``classification.data.source`` reads it. Many examples become
        an upload, unless ``spool`` is dry."""
        if given.WhichOneof("source") == "examples":
            return self._examples(given, spool, multi_label, field)
        source = dict(self._named(given, field))
        if given.HasField("format"):
            source["format"] = to_json(given.format, f"{field}.format")
        check_source(source, multi_label=multi_label, field=field)
        return source

    def _named(self, given: pb.LabeledData, field: str) -> Json:
        match given.WhichOneof("source"):
            case "path":
                return self._texts.path(given.path, f"{field}.path")
            case "upload":
                upload = self._texts.upload(given.upload, f"{field}.upload")
                return {**upload, "filename": self._texts.filename(given.upload)}
            case "dataset":
                return self._texts.dataset(given.dataset, f"{field}.dataset")
        raise InvalidArgument(
            "one of examples, upload, path and dataset must be set",
            reason="SOURCE_REQUIRED",
            field=field,
        )

    @staticmethod
    def _examples(given: pb.LabeledData, spool: Spool, multi_label: bool, field: str) -> Json:
        if given.HasField("format"):
            raise InvalidArgument(
                "format says how to read a file; leave it out with examples",
                reason="FORMAT_CONTRADICTION",
                field=f"{field}.format",
            )
        examples = given.examples.values
        _check(examples, multi_label, field)
        few = sum(len(line) + 1 for line in _lines(examples)) <= corpora.INLINE_BYTES
        if few or spool.dry:
            return {"examples": [[each.text, list(each.labels)] for each in examples]}
        file = spool.lines(_lines(examples), "examples.jsonl", f"{field}.examples")
        return {**file, "format": _LINES}


def _check(examples: Sequence[pb.LabeledExample], multi_label: bool, field: str) -> None:
    """Raises what reading them would raise."""
    refuse = InlineRefusal(field)
    collected = Collector(DataLimits(), field, multi_label=multi_label)
    for number, example in enumerate(examples):
        collected.add(example.text, example.labels, refuse, number)
    collected.finish(refuse)


def _lines(examples: Sequence[pb.LabeledExample]) -> Iterator[str]:
    """A JSON object an example, in ASCII: so no line break is left in it."""
    for each in examples:
        yield json.dumps({"text": each.text, "label": list(each.labels)})
