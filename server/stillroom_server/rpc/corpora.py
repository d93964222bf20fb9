"""Texts that a request brings or names: its corpus and its evaluations."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from stillroom.v1 import common_pb2
from stillroom.v1 import distillation_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.corpus.source import check_source
from stillroom_server.operations.model import Json
from stillroom_server.rpc import translate
from stillroom_server.rpc.fidelity_messages import EVALUATION_KINDS
from stillroom_server.rpc.fields import at_field
from stillroom_server.rpc.spool import Spool
from stillroom_server.security.paths import AllowedRoots
from stillroom_server.uploads.model import UploadFormat
from stillroom_server.uploads.store import UploadStore

# More than that is not kept in the operation's row, which every watcher reads again and again.
INLINE_BYTES = 64 << 10
MAX_EVALUATIONS = 16
FEWEST_ROWS, MOST_ROWS = 3, 50_000
_MAX_LABEL_BYTES = 256
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", re.ASCII)
_BREAKS = re.compile(r"\r\n|[\r\n]")


class Texts:
    """Turns sources of texts into the JSON of an operation, reachable as far as can be told without
    reading them. Every error names the field at fault."""

    def __init__(self, uploads: UploadStore, roots: AllowedRoots) -> None:
        self._uploads = uploads
        self._roots = roots

    def corpus(self, given: common_pb2.Corpus, spool: Spool) -> Json:
        """``{"texts"}``, ``{"path"}``, ``{"upload", "file"}`` or ``{"dataset"}``. Line breaks in
        inline texts become spaces, however many texts there are. Of a dry ``spool`` inline texts
        stay what they are, also too many for an operation."""
        match given.WhichOneof("source"):
            case "texts":
                return _inline(given.texts.values, spool)
            case "path":
                return self.path(given.path, "corpus.path")
            case "upload":
                return self.upload(given.upload, "corpus.upload")
            case "dataset":
                return _checked(self.dataset(given.dataset, "corpus.dataset"))
        raise InvalidArgument(
            "one of texts, upload, path and dataset must be set",
            reason="SOURCE_REQUIRED",
            field="corpus",
        )

    def evaluations(self, given: Sequence[pb.EvaluationSet], spool: Spool) -> list[Json]:
        """``{"name", "kind", "source"}`` each, of labels perhaps ``test``, a source too."""
        if len(given) > MAX_EVALUATIONS:
            raise InvalidArgument(
                f"{len(given)} evaluations; at most {MAX_EVALUATIONS}", field="evaluations"
            )
        names: set[str] = set()
        result: list[Json] = []
        for index, item in enumerate(given):
            field = f"evaluations[{index}]"
            if not _NAME.fullmatch(item.name) or item.name in names:
                raise InvalidArgument(
                    f"the name {item.name[:80]!r} must be a new one that matches {_NAME.pattern}",
                    field=f"{field}.name",
                )
            names.add(item.name)
            kind = EVALUATION_KINDS.get(item.kind)
            if kind is None:
                raise translate.unknown_value(item.kind, f"{field}.kind")
            source = self._evaluation(item, kind, spool, field)
            test = self._test(item, kind, field)
            result.append({"name": item.name, "kind": kind, "source": source, **test})
        return result

    def _test(self, item: pb.EvaluationSet, kind: str, field: str) -> Json:
        which = item.WhichOneof("test")
        if which is None:
            return {}
        if kind != "labels":
            raise InvalidArgument(
                f"{which} is for labels; similarities are not learned from",
                field=f"{field}.{which}",
            )
        read = self.path if which == "test_path" else self.upload
        return {"test": read(getattr(item, which), f"{field}.{which}")}

    def _evaluation(self, item: pb.EvaluationSet, kind: str, spool: Spool, field: str) -> Json:
        match item.WhichOneof("source"):
            case "path":
                return self.path(item.path, f"{field}.path")
            case "upload":
                return self.upload(item.upload, f"{field}.upload")
            case "pairs" if kind == "similarity":
                rows = [
                    _pair(row, f"{field}.pairs[{i}]") for i, row in enumerate(item.pairs.values)
                ]
                return _spooled(rows, spool, item.name, f"{field}.pairs")
            case "labeled" if kind == "labels":
                rows = [
                    _labeled(row, f"{field}.labeled[{i}]")
                    for i, row in enumerate(item.labeled.values)
                ]
                head = ("label\ttext",)
                return _spooled(rows, spool, item.name, f"{field}.labeled", head=head)
            case None:
                raise InvalidArgument(
                    "one of path, upload, pairs and labeled must be set",
                    reason="SOURCE_REQUIRED",
                    field=field,
                )
            case other:
                raise InvalidArgument(
                    f"an evaluation of {kind} does not take {other}", field=f"{field}.{other}"
                )

    def path(self, path: str, field: str) -> Json:
        """``{"path"}`` of a file in a folder that requests may read."""
        return {"path": str(self._roots.check_file(path, field=field))}

    def upload(self, name: str, field: str) -> Json:
        """``{"upload", "file"}`` of a finished upload of one file."""
        with at_field(field):
            file = self._uploads.open(name)
            if self._uploads.get(name).format is not UploadFormat.FILE:
                raise InvalidArgument(
                    f"{name} is an archive; upload the file of texts by itself",
                    reason="NOT_A_FILE",
                )
        return {"upload": name, "file": str(file)}

    def filename(self, upload: str) -> str:
        """What the file of an upload was called where it came from; empty where nobody told."""
        return self._uploads.get(upload).filename

    @staticmethod
    def dataset(given: common_pb2.HubDataset, field: str) -> Json:
        """``{"dataset"}``, looked at by nobody yet."""
        translate.check_repo(given.repo, f"{field}.repo")
        names = ("repo", "revision", "split", "column")
        return {"dataset": {name: getattr(given, name) or None for name in names}}


def _inline(values: Sequence[str], spool: Spool) -> Json:
    texts = [_BREAKS.sub(" ", text) for text in values]
    if not any(text.strip() for text in texts):
        raise InvalidArgument(
            "no text is given; a corpus needs one that is not blank",
            reason="CORPUS_EMPTY",
            field="corpus.texts",
        )
    if sum(len(text.encode()) + 1 for text in texts) <= INLINE_BYTES:
        return _checked({"texts": texts})
    if spool.dry:
        return {"texts": texts}
    return spool.lines(texts, "corpus.txt", "corpus.texts")


def _checked(source: Json) -> Json:
    check_source(source)
    return source


def _spooled(
    rows: list[str], spool: Spool, name: str, field: str, *, head: tuple[str, ...] = ()
) -> Json:
    if not FEWEST_ROWS <= len(rows) <= MOST_ROWS:
        raise InvalidArgument(
            f"{len(rows):,} rows; give {FEWEST_ROWS} to {MOST_ROWS:,}", field=field
        )
    return spool.lines([*head, *rows], f"{name}.tsv", field)


def _pair(row: pb.SimilarityPair, field: str) -> str:
    if not math.isfinite(row.similarity):
        raise InvalidArgument("a similarity must be finite", field=f"{field}.similarity")
    return f"{row.similarity!r}\t{_column(row.first)}\t{_column(row.second)}"


def _labeled(row: pb.LabeledText, field: str) -> str:
    label: Any = row.label
    if not label.strip() or label != _column(label) or len(label.encode()) > _MAX_LABEL_BYTES:
        raise InvalidArgument(
            f"a label has 1 to {_MAX_LABEL_BYTES} bytes, no tabs and no line breaks",
            field=f"{field}.label",
        )
    return f"{label}\t{_column(row.text)}"


def _column(text: str) -> str:
    return _BREAKS.sub(" ", text).replace("\t", " ")
