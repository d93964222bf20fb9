"""Texts for a distillation: a corpus, and data with known answers."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stillroom import archives
from stillroom._core import Core
from stillroom._flows import sources
from stillroom._flows.uploads import send_payload
from stillroom._progress import Progress
from stillroom._protocol.messages import build
from stillroom.archives import Part, Payload
from stillroom.errors import InvalidArgument
from stillroom.v1 import common_pb2, fidelity_pb2
from stillroom.v1 import distillation_service_pb2 as pb

Texts = Iterable[str] | os.PathLike[str] | common_pb2.Corpus
Rows = Sequence[tuple[float, str, str]] | Sequence[tuple[str, str]]
Evaluation = os.PathLike[str] | tuple[Path, Path] | Rows | pb.EvaluationSet
# What goes into a request; more is uploaded. Far below any server's limit of a message.
INLINE_BYTES = 1 << 20
_BREAKS = re.compile(r"\r\n|[\r\n]")
_LONGEST_LINE = 1 << 20
# Names of columns, as the server knows them.
_TEXT_COLUMNS = {"text", "sentence", "utterance"}
_LABEL_COLUMNS = {"label", "category", "intent", "class"}


async def corpus_source(
    core: Core,
    *,
    texts: Iterable[str] | None = None,
    path: str | os.PathLike[str] | None = None,
    upload: str | None = None,
    server_path: str | None = None,
    dataset: str | None = None,
    revision: str | None = None,
    split: str | None = None,
    column: str | None = None,
    progress: Progress = False,
) -> common_pb2.Corpus:
    """The Corpus of one of these sources, for ``distill``, after uploading what is on this machine.

    ``texts`` are the texts themselves; ``path`` a UTF-8 file on this machine with one text a line;
    ``upload`` a finished upload of one; ``server_path`` one on the server, inside a root that its
    operator allowed; ``dataset`` is ``owner/name`` on the Hub, at ``revision`` or
    ``owner/name@revision``, whose ``split`` ("train") holds texts in ``column`` ("text").

    Raises InvalidArgument that names the argument.
    """
    choices = {
        "texts": texts,
        "path": path,
        "upload": upload,
        "server_path": server_path,
        "dataset": dataset,
    }
    sources.check_one(choices, "corpus")
    details = {"revision": revision, "split": split, "column": column}
    sources.check_details(details, dataset)
    if dataset is not None:
        return common_pb2.Corpus(dataset=hub_dataset(dataset, details))
    if server_path is not None:
        return build(common_pb2.Corpus, path=server_path)
    if upload is not None:
        return build(common_pb2.Corpus, upload=upload)
    if path is not None:
        return common_pb2.Corpus(upload=await send_file(core, path, "path", progress))
    return await _texts(core, texts or (), progress)


async def as_corpus(core: Core, given: Texts | None, progress: Progress) -> Any:
    """What ``distill`` takes as its corpus; None stays None."""
    if given is None or isinstance(given, common_pb2.Corpus):
        return given
    if isinstance(given, str):
        raise InvalidArgument(
            "corpus is a list of texts, a pathlib.Path of a file on this machine, or what"
            " corpus_source answers; a str could be any of these",
            reason="BAD_TYPE",
            field="corpus",
        )
    if isinstance(given, os.PathLike):
        return common_pb2.Corpus(upload=await send_file(core, given, "corpus", progress))
    return await _texts(core, given, progress)


async def as_evaluations(
    core: Core,
    given: Mapping[str, Evaluation] | Iterable[pb.EvaluationSet] | None,
    progress: Progress,
) -> list[pb.EvaluationSet] | None:
    """What ``distill`` takes as its evaluations; None stays None."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return list(given)
    return [await _evaluation(core, name, value, progress) for name, value in given.items()]


async def _evaluation(
    core: Core, name: str, value: Evaluation, progress: Progress
) -> pb.EvaluationSet:
    field = f"evaluations[{name!r}]"
    if isinstance(value, pb.EvaluationSet):
        named = pb.EvaluationSet(name=name)
        named.MergeFrom(value)
        return named
    if isinstance(value, os.PathLike):
        kind = await core.transport.offload(kind_of_file, Path(value), field)
        upload = await send_file(core, value, field, progress)
        return build(pb.EvaluationSet, name=name, kind=kind, upload=upload)
    rows: list[Any] = list(value)
    if len(rows) == 2 and all(isinstance(row, os.PathLike) for row in rows):
        training, test = [await send_file(core, row, field, progress) for row in rows]
        kind = fidelity_pb2.EVALUATION_KIND_LABELS
        return build(pb.EvaluationSet, name=name, kind=kind, upload=training, test_upload=test)
    return _rows(name, rows, field)


def _rows(name: str, rows: list[Any], field: str) -> pb.EvaluationSet:
    try:
        if rows and len(rows[0]) == 3:
            pairs = [
                pb.SimilarityPair(similarity=similarity, first=first, second=second)
                for similarity, first, second in rows
            ]
            return pb.EvaluationSet(
                name=name,
                kind=fidelity_pb2.EVALUATION_KIND_SIMILARITY,
                pairs=pb.SimilarityPairs(values=pairs),
            )
        labeled = [pb.LabeledText(label=label, text=text) for label, text in rows]
        return pb.EvaluationSet(
            name=name,
            kind=fidelity_pb2.EVALUATION_KIND_LABELS,
            labeled=pb.LabeledTexts(values=labeled),
        )
    except (TypeError, ValueError) as error:
        raise InvalidArgument(
            f"{field} holds rows (similarity, text, text) or (label, text): {error}",
            reason="BAD_TYPE",
            field=field,
        ) from None


def kind_of_file(path: Path, field: str) -> int:
    """The EvaluationKind of a CSV or TSV file, by its first line."""
    try:
        with path.open("rb") as file:
            first = file.readline(_LONGEST_LINE).decode("utf-8-sig", "replace")
    except OSError as error:
        raise InvalidArgument(
            f"cannot read {path}: {error.strerror}", reason="UNREADABLE_FILE", field=field
        ) from None
    columns = next(csv.reader([first], delimiter="\t" if "\t" in first else ","), [])
    names = {column.strip().lower() for column in columns}
    if names & _TEXT_COLUMNS and names & _LABEL_COLUMNS:
        return fidelity_pb2.EVALUATION_KIND_LABELS
    if len(columns) >= 3:
        return fidelity_pb2.EVALUATION_KIND_SIMILARITY
    raise InvalidArgument(
        f"{path} must have rows of score, sentence, sentence, or a header that names the columns"
        " text and label; with commas or tabs between",
        reason="BAD_COLUMNS",
        field=field,
    )


async def send_file(
    core: Core, path: str | os.PathLike[str], field: str, progress: Progress
) -> str:
    """Uploads a file and answers the upload's name; InvalidArgument on ``field`` for what is no
    file."""
    payload = await core.transport.offload(_file, Path(path), field)
    return (await send_payload(core, payload, progress=progress)).name


def _file(path: Path, field: str) -> Payload:
    if path.is_dir():
        raise InvalidArgument(f"{path} is a folder, not a file", reason="NO_FILE", field=field)
    try:
        return archives.payload(path)
    except InvalidArgument as error:
        error.field = field
        raise


async def _texts(core: Core, texts: Iterable[str], progress: Progress) -> common_pb2.Corpus:
    lines = [_line(text, index) for index, text in enumerate(texts)]
    data = "".join(f"{line}\n" for line in lines).encode()
    if len(data) <= INLINE_BYTES:
        return common_pb2.Corpus(texts=common_pb2.InlineTexts(values=lines))
    payload = Payload("corpus.txt", (Part(len(data), data),))
    return common_pb2.Corpus(upload=(await send_payload(core, payload, progress=progress)).name)


def _line(text: Any, index: int) -> str:
    field = f"corpus[{index}]"
    if not isinstance(text, str):
        raise InvalidArgument(
            f"{field} is {type(text).__name__}, not str", reason="BAD_TYPE", field=field
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"{field} holds what is no text: {error.reason}", reason="INVALID_UNICODE", field=field
        ) from None
    return _BREAKS.sub(" ", text)


def hub_dataset(dataset: str, details: dict[str, str | None]) -> common_pb2.HubDataset:
    """``owner/name`` or ``owner/name@revision`` with ``details``: revision, split, column."""
    repo, at, revision = dataset.partition("@")
    if at and details["revision"] is not None:
        raise InvalidArgument(
            "the revision is given twice", reason="TWO_REVISIONS", field="revision"
        )
    return build(
        common_pb2.HubDataset, repo=repo, **(details | ({"revision": revision} if at else {}))
    )
