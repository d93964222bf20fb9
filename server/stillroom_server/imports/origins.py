"""What a copy remembers of where it is from. Its peer told most of it: it is for people to read.

Two things are this server's own finding, by digest, and used: ``parents``, and in the metadata what
each parent is called here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from stillroom_registry.names import ModelRef
from stillroom_registry.registry import Registry
from stillroom_registry.relations import COPY
from stillroom_server.imports.peers import Parent, PeerVersion

_MAX_ORIGIN_BYTES = 16_384  # of the origin that the peer itself remembers
# Marks of the peer's own: where its files are from, and an operation of its.
_THEIRS = ("origin", "operation")


@dataclass(frozen=True)
class Origin:
    """``parents`` are full names of versions here, made into this one by ``relation``; ``here``
    names the twin of each parent over there, ``live`` says which of those are not deleted."""

    told: PeerVersion
    parents: tuple[str, ...]
    relation: str
    here: dict[str, str]
    live: frozenset[str]

    @classmethod
    def of(cls, registry: Registry, told: PeerVersion) -> Origin:
        live = set()
        here = {}
        for parent in told.parents:
            twins = _twins(registry, parent.digest, parent.model_version, deleted=False)
            if twins:
                live.add(parent.model_version)
            else:
                twins = _twins(registry, parent.digest, parent.model_version, deleted=True)
            if twins:
                here[parent.model_version] = twins[0]
        if told.model_version in registry.versions_of_digest(told.digest):
            # It is of this very server, or came to it before under its own name.
            return cls(told, (told.model_version,), COPY, here, frozenset(live))
        parents = tuple(dict.fromkeys(here.values()))
        return cls(told, parents, told.relation, here, frozenset(live))

    def is_live(self, name: str) -> bool:
        """Whether a parent of that name over there has a twin here that is not deleted."""
        return name in self.live

    def metadata(self) -> dict[str, Any]:
        """The peer's, but for its marks, with an ``origin`` that names it."""
        kept = {key: value for key, value in self.told.metadata.items() if key not in _THEIRS}
        return {**kept, "origin": {"peer": self._peer()}}

    def _peer(self) -> dict[str, Any]:
        told = self.told
        found: dict[str, Any] = {
            "address": told.peer,
            "model_version": told.model_version,
            "digest": told.digest,
            "create_time": told.create_time,
            "relation": told.relation,
            "parents": [self._parent(parent) for parent in told.parents],
        }
        before = told.metadata.get("origin")
        if before is not None and len(json.dumps(before)) <= _MAX_ORIGIN_BYTES:
            found["origin"] = before
        return {key: value for key, value in found.items() if value not in ("", [])}

    def _parent(self, parent: Parent) -> dict[str, str]:
        found = {
            "model_version": parent.model_version,
            "digest": parent.digest,
            "here": self.here.get(parent.model_version, ""),
        }
        return {key: value for key, value in found.items() if value}


def _twins(registry: Registry, digest: str, name: str, *, deleted: bool) -> list[str]:
    """Versions here with that digest, those of the model of the same name first."""
    if not digest:
        return []
    model = ModelRef.parse(name).model
    found = registry.versions_of_digest(digest, deleted=deleted)
    return sorted(found, key=lambda each: ModelRef.parse(each).model != model)
