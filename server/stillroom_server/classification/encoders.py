"""The registered model that gives the vectors to classify: which it is, of what kind, and whether
it is still there."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from stillroom_registry.errors import Cancelled, FailedPrecondition, NotFound
from stillroom_registry.registry import ModelKind, ModelVersion, Registry
from stillroom_server.inference.transformer.files import is_transformer_student

_log = logging.getLogger(__name__)

EncoderKind: TypeAlias = Literal["static", "transformer", "teacher"]


@dataclass(frozen=True)
class EncoderSource:
    """A version that embeds, and its files in ``folder``."""

    version: ModelVersion
    folder: Path
    kind: EncoderKind

    @property
    def name(self) -> str:
        """The version's full name."""
        return self.version.name


def find_encoder(registry: Registry, reference: str, field: str = "encoder") -> EncoderSource:
    """The encoder that ``reference`` names. Raises NotFound, and FailedPrecondition
    (ENCODER_IS_CLASSIFIER)."""
    version = resolve(registry, reference, field)
    check_encoder_kind(version, field)
    folder = registry.folder(version)
    return EncoderSource(version, folder, _kind(version, folder))


def check_encoder_kind(version: ModelVersion, field: str = "encoder") -> None:
    """Raises FailedPrecondition (ENCODER_IS_CLASSIFIER) unless ``version`` is one that embeds."""
    if version.kind is ModelKind.CLASSIFIER:
        raise FailedPrecondition(
            f"{version.name} is a classifier; name the student or teacher that it was trained on",
            reason="ENCODER_IS_CLASSIFIER",
            field=field,
            metadata={"model_version": version.name, "kind": version.kind.value},
        )


def resolve(registry: Registry, reference: str, field: str) -> ModelVersion:
    """As ``Registry.resolve``; a NotFound tells the field and the name."""
    try:
        return registry.resolve(reference)
    except NotFound as error:
        raise NotFound(
            error.message,
            reason=error.reason,
            field=field,
            metadata={**error.metadata, "name": reference},
        ) from error


@contextmanager
def still_registered(registry: Registry, version: ModelVersion, field: str) -> Iterator[None]:
    """Whatever fails inside because ``version`` was deleted meanwhile is NotFound: its files go
    with the next collection, at any moment."""
    try:
        yield
    except Cancelled:
        raise
    except Exception as error:
        if _is_gone(registry, version):
            raise _deleted(version, field) from error
        raise


def check_registered(registry: Registry, version: ModelVersion, field: str) -> None:
    """Raises NotFound (ENCODER_DELETED, or MODEL_DELETED for a field that names no encoder) when
    ``version`` is registered no more."""
    try:
        registry.resolve(version.name)
    except NotFound as error:
        raise _deleted(version, field) from error


def _is_gone(registry: Registry, version: ModelVersion) -> bool:
    """False where that cannot be told: it is asked in the middle of another failure."""
    try:
        registry.resolve(version.name)
    except NotFound:
        return True
    except Exception:
        _log.warning("cannot look for %s", version.name, exc_info=True)
    return False


def _deleted(version: ModelVersion, field: str) -> NotFound:
    return NotFound(
        f"{version.name} was deleted while it was needed",
        reason="ENCODER_DELETED" if field == "encoder" else "MODEL_DELETED",
        field=field,
        metadata={"name": version.name},
    )


def _kind(version: ModelVersion, folder: Path) -> EncoderKind:
    if version.kind is ModelKind.TEACHER:
        return "teacher"
    return "transformer" if is_transformer_student(folder) else "static"
