"""What the registry hands out: frozen values, detached from the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar

from stillroom_registry.errors import InvalidArgument
from stillroom_registry.names import shown, version_name

JSON: TypeAlias = Any
Clock: TypeAlias = Callable[[], datetime]
T = TypeVar("T")


def system_clock() -> datetime:
    return datetime.now(UTC)


class ModelKind(StrEnum):
    TEACHER = "teacher"
    STUDENT = "student"
    CLASSIFIER = "classifier"


def check_kind(kind: str) -> ModelKind:
    """The kind by that name, or InvalidArgument (BAD_KIND)."""
    try:
        return ModelKind(kind)
    except ValueError:
        names = ", ".join(ModelKind)
        raise InvalidArgument(
            f"There is no kind of model {shown(str(kind))}; use one of {names}.",
            reason="BAD_KIND",
            field="kind",
        ) from None


@dataclass(frozen=True, slots=True)
class File:
    """One file of a version; ``path`` is relative, with '/', ``size`` in bytes."""

    path: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class Model:
    """A name under which versions are published. ``latest_version`` is None when it has none."""

    name: str
    kind: ModelKind
    description: str
    labels: Mapping[str, str]
    create_time: datetime
    update_time: datetime
    latest_version: int | None
    aliases: Mapping[str, int]
    etag: str


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """An immutable published set of files. ``digest`` is the manifest's, ``size`` in bytes."""

    model: str
    version: int
    kind: ModelKind
    files: tuple[File, ...]
    metadata: Mapping[str, JSON]
    parents: tuple[str, ...]
    create_time: datetime
    size: int
    digest: str

    @property
    def name(self) -> str:
        return version_name(self.model, self.version)


@dataclass(frozen=True, slots=True)
class Alias:
    model: str
    alias: str
    version: int
    update_time: datetime


@dataclass(frozen=True, slots=True)
class AliasEvent:
    """One move of an alias: from None when it was new, to None when it was removed."""

    model: str
    alias: str
    from_version: int | None
    to_version: int | None
    who: str | None
    time: datetime


@dataclass(frozen=True, slots=True)
class LineageNode:
    """A version in a lineage, deleted or not: what is known of it stays."""

    name: str
    kind: ModelKind
    deleted: bool
    create_time: datetime
    metadata: Mapping[str, JSON]


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """``child`` was made from ``parent``, both full version names; ``relation`` says how."""

    parent: str
    child: str
    relation: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """``nodes`` begin with the one that was asked for, then the nearest first.

    ``truncated``: there were more than are given, of which the farthest are left out.
    """

    nodes: tuple[LineageNode, ...]
    edges: tuple[LineageEdge, ...]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Verification:
    """What hashing a version's files again found; ``bytes_hashed`` counts shared blobs once."""

    damaged: tuple[File, ...]
    bytes_hashed: int


@dataclass(frozen=True, slots=True)
class IntegrityState:
    """Of live versions: how many have a file in quarantine, and when the file that was looked at
    least recently was; None when there is none."""

    quarantined_versions: int
    oldest_check: datetime | None


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of all stored blobs, those that wait for the collector included, and their limit."""

    used_bytes: int
    quota_bytes: int | None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items of a list; ``next_page_token`` is empty on the last page."""

    items: tuple[T, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class GarbageReport:
    """What a collection removed, or would have; ``bytes_freed`` counts blobs alone."""

    blobs_deleted: int
    bytes_freed: int
    blobs_kept: int
    folders_deleted: int
    scratch_deleted: int
    leases_expired: int
