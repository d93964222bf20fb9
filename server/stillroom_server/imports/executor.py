"""The operation that brings a model into the registry: fetch, verify, convert, publish."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from stillroom_registry.errors import InvalidArgument
from stillroom_registry.names import check_model_name
from stillroom_registry.registry import ModelKind, ModelVersion, Registry
from stillroom_registry.relations import COPY
from stillroom_server.imports.attempts import attempt_folder
from stillroom_server.imports.faithful import copy_version
from stillroom_server.imports.probe import ProbedTokenizer, probe_tokenizer
from stillroom_server.imports.recognize import (
    MODEL2VEC_CLASSIFIER,
    TRANSFORMER_STUDENT,
    Recognized,
    recognize,
)
from stillroom_server.imports.selection import ONNX_FILES, UNUSED, SkippedFile
from stillroom_server.imports.settings import ImportSettings
from stillroom_server.imports.sources import Fetched, fetch, parse_source
from stillroom_server.imports.tokenizers import (
    teacher_max_tokens,
    tokenizer_facts,
    tokenizer_of,
)
from stillroom_server.provenance import provenance

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from stillroom_server.operations.context import OperationContext

# A repository may hold hundreds of files that are none of ours; the answer names these many.
_MAX_SKIPPED_SHOWN = 200
_PARITY_RUNS = 200


class Context(Protocol):
    """What an import needs of the operation that it is part of."""

    @property
    def workspace(self) -> Path: ...
    @property
    def attempt(self) -> int: ...
    def progress(
        self, phase: str, done: int, total: int, *, unit: str, message: str = ""
    ) -> None: ...
    def moved(self, network_bytes: int) -> None: ...
    def check_cancelled(self) -> None: ...
    def confirm(self) -> None: ...


class ImportExecutor:
    """Executes {"name", "kind": null | kind, "source", "description", "labels"}.

    ``source`` is as ``sources.parse_source`` reads it. With "copy_of", a PeerVersion in JSON, it is
    an upload, and the version the same as that one or none; see ``faithful``. The result is
    {"model_version": full name, "skipped_files": [{"path", "reason"}], "notes": [text]}.
    """

    kind = "import"
    phases = ("fetch", "verify", "convert", "publish")

    def __init__(self, settings: Mapping[str, Any] | ImportSettings, registry: Registry) -> None:
        self._settings = (
            settings if isinstance(settings, ImportSettings) else ImportSettings.from_json(settings)
        )
        self._registry = registry

    def run(self, request: Mapping[str, Any], context: OperationContext) -> Mapping[str, Any]:
        if request.get("copy_of"):
            return copy_version(request, self._settings, self._registry, context)
        return self.bring(request, context, context.succeed)[1]

    def bring(
        self,
        request: Mapping[str, Any],
        context: Context,
        finish: Callable[[Connection, Mapping[str, Any]], None],
        *,
        marks: Mapping[str, Any] | None = None,
    ) -> tuple[ModelVersion, Mapping[str, Any]]:
        """The import itself: the new version, and the result that ``finish`` got in the publishing
        transaction. ``marks`` are added to the version's metadata."""
        name = check_model_name(str(request.get("name") or ""), "name")
        source = parse_source(request.get("source"))
        folder = attempt_folder(context.workspace, context.attempt)

        def on_progress(done: int, total: int) -> None:
            context.check_cancelled()
            context.progress("fetch", done, total, unit="bytes")

        keep = context.workspace / "download"
        fetched = fetch(
            source, folder, self._settings, on_progress, keep=keep, on_fetched=context.moved
        )
        skipped = list(fetched.skipped)
        context.progress("verify", 0, 2, unit="checks")
        recognized = recognize(folder, skipped)
        _check_kind(request.get("kind"), recognized)
        context.check_cancelled()
        context.progress("verify", 1, 2, unit="checks", message="trying the tokenizer")
        path = tokenizer_of(folder, recognized)
        wait = context.check_cancelled
        tokenizer = None if path is None else probe_tokenizer(path, on_wait=wait)
        context.check_cancelled()
        context.progress("verify", 2, 2, unit="checks")
        skipped += _prune(folder, recognized)
        facts, notes = self._convert(folder, recognized, tokenizer, fetched, skipped, context)
        facts |= marks or {}
        return self._publish(
            name, folder, recognized, request, facts, notes, skipped, context, finish
        )

    def _convert(
        self,
        folder: Path,
        recognized: Recognized,
        tokenizer: ProbedTokenizer | None,
        fetched: Fetched,
        skipped: list[SkippedFile],
        context: Context,
    ) -> tuple[dict[str, Any], list[str]]:
        facts = {
            **recognized.facts,
            "layout": recognized.layout,
            **tokenizer_facts(tokenizer),
            "origin": dict(fetched.origin),
        }
        notes = list(recognized.notes)
        if recognized.kind == "teacher" or recognized.layout == TRANSFORMER_STUDENT:
            facts["max_tokens"] = teacher_max_tokens(folder)
        if recognized.kind == "teacher":
            context.progress("convert", 1, 1, unit="models")
            return facts, notes

        def on_run(done: int) -> None:
            context.check_cancelled()
            context.progress("convert", done, _PARITY_RUNS, unit="runs", message="checking parity")

        if recognized.kind == "classifier":
            from stillroom_server.imports.classifiers import complete_classifier

            more, added = complete_classifier(folder, recognized, fetched.origin, skipped, on_run)
            on_run(_PARITY_RUNS)
            return {**facts, **more}, notes + added
        if recognized.layout == TRANSFORMER_STUDENT:
            from stillroom_server.imports.transformer_students import prove_student

            facts["parity"] = prove_student(folder, skipped, context.check_cancelled)
            on_run(_PARITY_RUNS)
            return facts, notes
        from stillroom_server.imports.students import complete_student

        more, added = complete_student(folder, recognized, fetched.origin, skipped, on_run)
        return {**facts, **more}, notes + added

    def _publish(
        self,
        name: str,
        folder: Path,
        recognized: Recognized,
        request: Mapping[str, Any],
        facts: dict[str, Any],
        notes: list[str],
        skipped: list[SkippedFile],
        context: Context,
        finish: Callable[[Connection, Mapping[str, Any]], None],
    ) -> tuple[ModelVersion, Mapping[str, Any]]:
        context.confirm()
        context.progress("publish", 0, 1, unit="versions")

        def result(version: ModelVersion) -> dict[str, Any]:
            shown = [file.as_dict() for file in skipped[:_MAX_SKIPPED_SHOWN]]
            return {"model_version": version.name, "skipped_files": shown, "notes": notes}

        def in_transaction(connection: Connection, version: ModelVersion) -> None:
            context.progress("publish", 1, 1, unit="versions")
            finish(connection, result(version))

        version = self._registry.publish(
            name,
            ModelKind(recognized.kind),
            folder,
            metadata={**facts, "notes": notes, **provenance()},
            relation=COPY,
            description=request.get("description"),
            labels=request.get("labels"),
            in_transaction=in_transaction,
        )
        for left in (folder, context.workspace / "download"):
            shutil.rmtree(left, ignore_errors=True)  # else the workspace's end takes it along
        return version, result(version)


def _check_kind(wanted: object, recognized: Recognized) -> None:
    if wanted is not None and wanted != recognized.kind:
        raise InvalidArgument(
            f"the source is a {recognized.kind}, not a {str(wanted)[:50]}; leave kind unset or "
            "correct it",
            reason="KIND_MISMATCH",
            field="kind",
            metadata={"kind": recognized.kind},
        )


def _unused_graph(recognized: Recognized) -> str:
    """Why a student's ONNX file has no place in this folder; "" where it has."""
    if recognized.kind == "teacher":
        return "teachers are not run from ONNX"
    return "a graph without the head" if recognized.layout == MODEL2VEC_CLASSIFIER else ""


def _prune(folder: Path, recognized: Recognized) -> list[SkippedFile]:
    """Removes weights that nothing names, and graphs that nothing runs."""
    pruned = []
    for path in sorted(folder.rglob("*.safetensors")):
        name = path.relative_to(folder).as_posix()
        if name not in recognized.weights:
            path.unlink()
            pruned.append(SkippedFile(name, UNUSED))
    unused = _unused_graph(recognized)
    for name in ONNX_FILES if unused else ():
        if (folder / name).is_file():
            (folder / name).unlink()
            pruned.append(SkippedFile(name, unused))
    # What the Hub's library keeps for itself beside a download.
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return pruned
