"""What another server says of a version that is to be copied: its shape, and how much of it.

Nothing here believes it: ``faithful`` holds what it says to the bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from stillroom_registry.checks import check_metadata
from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_registry.manifest import manifest_digest
from stillroom_registry.names import ModelRef, shown
from stillroom_registry.relations import RELATIONS
from stillroom_registry.safe_files import check_path
from stillroom_registry.values import File, check_kind
from stillroom_server.imports.selection import Budget, skip_reason

FIELD = "copy_of"
MAX_PARENTS = 100
MAX_PEER_BYTES = 255
_VERSION = f"{FIELD}.model_version"
_MAX_DEPTH = 32
_EXACT = 2**53  # whole numbers up to here are the same as integers and in JSON
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
# Beside what any import takes, what Stillroom itself writes.
_OWN = {"report.html", "fidelity.svg", "fidelity.png", "onnx/classifier.onnx", "onnx/head.onnx"}


@dataclass(frozen=True)
class Parent:
    """``digest`` is "" where nobody knows it."""

    model_version: str
    digest: str


@dataclass(frozen=True)
class PeerVersion:
    """A version of another server. ``relation`` "" is not known; ``create_time`` is ISO 8601."""

    peer: str
    model_version: str
    kind: str
    digest: str
    create_time: str
    files: tuple[File, ...]
    metadata: Mapping[str, Any]
    parents: tuple[Parent, ...] = ()
    relation: str = ""

    def check(self, budget: Budget) -> None:
        """Raises InvalidArgument on the field that is wrong or too large (COPY_MISMATCH: the
        digest is not that of the files), and FailedPrecondition (COPY_REFUSED) for files that are
        taken from nobody."""
        _check_version_name(self.model_version, f"{_VERSION}.name")
        check_kind(self.kind)
        _check_text(self.peer, f"{FIELD}.peer")
        _check_files(self.files, budget)
        if manifest_digest(self.files) != self.digest:
            raise mismatch(
                f"the digest of {self.model_version} is not that of its files", f"{_VERSION}.digest"
            )
        _check_metadata(self.metadata)
        if len(self.parents) > MAX_PARENTS:
            raise _wrong(f"{len(self.parents)} parents; at most {MAX_PARENTS}", f"{FIELD}.parents")
        for index, parent in enumerate(self.parents):
            where = f"{FIELD}.parents[{index}]"
            _check_version_name(parent.model_version, f"{where}.model_version")
            if parent.digest and not _DIGEST.fullmatch(parent.digest):
                raise _wrong("it is no digest", f"{where}.digest")
        if self.relation not in ("", *RELATIONS):
            raise _wrong(f"it is one of {', '.join(RELATIONS)}", f"{FIELD}.relation")

    def to_json(self) -> dict[str, Any]:
        """Metadata as text: nothing that looks for what a request mentions is to look into them."""
        return {**asdict(self), "metadata": json.dumps(self.metadata)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PeerVersion:
        """What ``to_json`` gave."""
        files = tuple(File(**file) for file in value["files"])
        parents = tuple(Parent(**parent) for parent in value["parents"])
        metadata = json.loads(value["metadata"])
        return cls(**{**value, "files": files, "parents": parents, "metadata": metadata})


def whole_numbers(value: Any) -> Any:
    """JSON that a Struct brought, whose numbers are all floats, with integers where it can tell."""
    if isinstance(value, Mapping):
        return {key: whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    return value


def mismatch(what: str, field: str = _VERSION, **metadata: str) -> InvalidArgument:
    """What was told is not so."""
    return InvalidArgument(
        f"{what}: nothing was registered. Verify the version where it comes from, then copy it "
        "again",
        reason="COPY_MISMATCH",
        field=field,
        metadata=metadata,
    )


def refused(what: str, **metadata: str) -> FailedPrecondition:
    """What is taken from nobody."""
    return FailedPrecondition(
        f"{what}, so no faithful copy is made; download it and import the folder, which leaves "
        "such things out",
        reason="COPY_REFUSED",
        field=FIELD,
        metadata=metadata,
    )


def _check_files(files: Sequence[File], budget: Budget) -> None:
    seen: set[str] = set()
    for index, file in enumerate(files):
        where = f"{_VERSION}.files[{index}]"
        check_path(file.path, f"{where}.path")
        if file.path in seen or file.size < 0 or not _DIGEST.fullmatch(file.digest):
            raise _wrong("its path is there twice, or its digest or size is none", where)
        seen.add(file.path)
        budget.add_file()
        budget.add_bytes(file.size)
        if file.path not in _OWN and (reason := skip_reason(file.path)):
            raise refused(f"{shown(file.path)} is refused ({reason})", file=ascii(file.path)[:200])
    if not files:
        raise _wrong("it has no files", f"{_VERSION}.files")


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    field = f"{_VERSION}.metadata"
    if _depth(metadata) > _MAX_DEPTH:
        raise _wrong(f"it is more than {_MAX_DEPTH} levels deep", field)
    try:
        check_metadata(metadata)
    except InvalidArgument as error:
        raise _wrong(error.message, field) from error


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level and deepest <= _MAX_DEPTH:
        deepest += 1
        inner = [v.values() if isinstance(v, Mapping) else v for v in level if _nests(v)]
        level = [each for values in inner for each in values]
    return deepest


def _nests(value: Any) -> bool:
    return isinstance(value, Mapping | list)


def _check_version_name(name: str, field: str) -> None:
    ref = ModelRef.parse(name, field)
    if ref.version is None or str(ref) != name:
        raise _wrong("write models/name/versions/3", field)


def _check_text(text: str, field: str) -> None:
    if len(text.encode("utf-8", "replace")) > MAX_PEER_BYTES or not text.isprintable():
        raise _wrong(f"it is at most {MAX_PEER_BYTES} bytes that can be printed", field)


def _wrong(what: str, field: str) -> InvalidArgument:
    return InvalidArgument(f"{field}: {what}", reason="COPY_INVALID", field=field)
