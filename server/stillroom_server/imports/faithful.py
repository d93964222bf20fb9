"""A version of another server, byte for byte: the same files and metadata, or nothing.

    look for it here → unpack → hold to the digests that were told → prove → publish

What arrives is checked as any import's files are, but nothing is mended, written anew or left out;
the version's digest is compared with the one that was told once more in the publishing transaction.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_registry import twins
from stillroom_registry.errors import FailedPrecondition, InvalidArgument, NotFound
from stillroom_registry.names import check_model_name
from stillroom_registry.registry import ModelKind, ModelVersion, Registry
from stillroom_registry.relations import COPY
from stillroom_server.imports.archive import unpack_upload
from stillroom_server.imports.attempts import attempt_folder
from stillroom_server.imports.origins import Origin
from stillroom_server.imports.peers import PeerVersion, mismatch
from stillroom_server.imports.probe import probe_tokenizer
from stillroom_server.imports.recognize import recognize
from stillroom_server.imports.selection import Budget
from stillroom_server.imports.settings import ImportSettings
from stillroom_server.imports.sources import UploadSource, parse_source
from stillroom_server.imports.tokenizers import tokenizer_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from stillroom_server.imports.proving import Proven
    from stillroom_server.operations.context import OperationContext

# Of what is told, what anything here relies on.
_HELD = ("dimensions", "element_type", "label_count", "max_tokens")


class _Held(Exception):
    """Another operation made the same version a moment before."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def copy_version(
    request: Mapping[str, Any],
    settings: ImportSettings,
    registry: Registry,
    context: OperationContext,
) -> Mapping[str, Any]:
    """Executes an import that has a ``copy_of``; its result, without skipped files and notes.

    A whole version of the model with that digest is the answer, if there is one. Raises what
    ``PeerVersion.check`` and ``prove`` raise; InvalidArgument (COPY_MISMATCH, SOURCE_REQUIRED);
    FailedPrecondition (ENCODER_MISSING) for a classifier whose teacher is not here.
    """
    name = check_model_name(str(request.get("name") or ""), "name")
    told = PeerVersion.from_json(request["copy_of"])
    budget = Budget(settings.max_files, settings.max_bytes, "source")
    told.check(Budget(settings.max_files, settings.max_bytes, "copy_of"))
    before = registry.versions_of_digest(told.digest, name)
    if (held := _whole(registry, before)) is not None:
        return _keep(registry, context, held)
    source = parse_source(request.get("source"))
    if not isinstance(source, UploadSource):
        raise InvalidArgument(
            "a copy comes by an upload", reason="SOURCE_REQUIRED", field="source.upload"
        )
    folder = attempt_folder(context.workspace, context.attempt)
    _unpack(source.file, folder, told, budget, context)
    context.progress("verify", 0, 2, unit="checks")
    origin = Origin.of(registry, told)
    _check(told, _prove(folder, context), origin)
    context.progress("verify", 2, 2, unit="checks")
    context.progress("convert", 1, 1, unit="models")
    try:
        return _publish({**request, "name": name}, folder, origin, before, registry, context)
    except _Held as error:
        return _keep(registry, context, error.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # else the workspace's end takes it along


def _whole(registry: Registry, names: Collection[str]) -> str | None:
    """The newest of the versions that is not damaged: a copy would be the same. A damaged one is
    healed by a copy."""
    for name in names:
        with contextlib.suppress(NotFound):  # deleted a moment ago
            if not registry.damaged_files(registry.resolve(name)):
                return name
    return None


def _unpack(
    tar: Path, folder: Path, told: PeerVersion, budget: Budget, context: OperationContext
) -> None:
    done, total = 0, sum(file.size for file in told.files)

    def on_bytes(count: int) -> None:
        nonlocal done
        done += count
        context.check_cancelled()
        context.progress("fetch", done, total, unit="bytes")

    paths = {file.path for file in told.files}
    skipped = unpack_upload(tar, folder, budget, on_bytes, exactly=paths)
    if skipped:
        raise mismatch(
            f"the upload holds {skipped[0].path[:200]!r}, which is no file of {told.model_version}",
            "source.upload",
        )
    for file in told.files:
        context.check_cancelled()
        if _digest(folder / file.path) != file.digest:
            raise mismatch(
                f"{file.path} is not in the upload, or not as its digest says",
                "source.upload",
                file=ascii(file.path)[1:-1][:256],
            )


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _prove(folder: Path, context: OperationContext) -> Proven:
    from stillroom_server.imports.proving import prove

    context.check_cancelled()
    path = tokenizer_of(folder, recognize(folder))
    if path is not None:  # before anything of this process reads it
        context.progress("verify", 1, 2, unit="checks", message="trying the tokenizer")
        probe_tokenizer(path, on_wait=context.check_cancelled)
    return prove(folder, context.check_cancelled)


def _check(told: PeerVersion, proven: Proven, origin: Origin) -> None:
    """That it is what was told, as far as the files say."""
    if proven.kind != told.kind:
        raise mismatch(
            f"{told.model_version} is a {proven.kind}, not a {told.kind}",
            "copy_of.model_version.kind",
        )
    for key in _HELD:
        if key in told.metadata and key in proven.facts:
            said, found = told.metadata[key], proven.facts[key]
            if said != found or isinstance(said, bool):
                raise mismatch(
                    f"its metadata say {str(said)[:50]!r} for {key}, its files {found!r}",
                    "copy_of.model_version.metadata",
                    key=key,
                )
    if proven.encoder and not origin.is_live(proven.encoder):
        raise FailedPrecondition(
            f"the classifier reads vectors of {proven.encoder}, which is not on this server; copy "
            "that teacher first",
            reason="ENCODER_MISSING",
            field="copy_of",
            metadata={"encoder_version": proven.encoder},
        )


def _publish(
    request: Mapping[str, Any],
    folder: Path,
    origin: Origin,
    damaged: Collection[str],
    registry: Registry,
    context: OperationContext,
) -> Mapping[str, Any]:
    """Raises _Held where there is a twin beside those that are ``damaged``."""
    told = origin.told
    context.confirm()
    context.progress("publish", 0, 1, unit="versions")

    def in_transaction(connection: Connection, version: ModelVersion) -> None:
        if version.digest != told.digest:
            raise mismatch("the files changed on this server's disk", "source.upload")
        for twin in twins.of_digest(connection, told.digest, version.model, deleted=False):
            if twin != version.name and twin not in damaged:
                raise _Held(twin)
        context.progress("publish", 1, 1, unit="versions")
        context.succeed(connection, _result(version.name))

    version = registry.publish(
        request["name"],
        ModelKind(told.kind),
        folder,
        metadata=origin.metadata(),
        parents=origin.parents,
        relation=origin.relation or COPY,
        description=request.get("description"),
        labels=request.get("labels"),
        in_transaction=in_transaction,
    )
    return _result(version.name)


def _keep(registry: Registry, context: OperationContext, name: str) -> Mapping[str, Any]:
    """The end of a copy of what is here already."""
    with registry.database.write() as connection:
        context.succeed(connection, _result(name))
    return _result(name)


def _result(name: str) -> dict[str, Any]:
    return {"model_version": name, "skipped_files": [], "notes": []}
