"""Where the teacher is whose vectors a classifier reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillroom_registry.values import ModelVersion


def encoder_of(version: ModelVersion, stated: str) -> str:
    """The teacher's version that the files of the classifier ``version`` name, by its name here:
    those of a copy from another server name it as it is called there."""
    return here(version.metadata, stated) or stated


def here(metadata: Mapping[str, Any], name: str) -> str | None:
    """What a version of the server that this one is a copy from is called here, as the copy's
    import wrote it; None for what it was not made from, or is not here."""
    origin = metadata.get("origin")
    peer = origin.get("peer") if isinstance(origin, Mapping) else None
    for parent in peer.get("parents") or () if isinstance(peer, Mapping) else ():
        if parent.get("model_version") == name:
            return parent.get("here") or None
    return None
