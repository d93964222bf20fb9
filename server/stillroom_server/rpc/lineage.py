"""A lineage as the protocol shows it, within the size of one answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stillroom.v1 import model_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_registry.values import Lineage, LineageNode
from stillroom_server.rpc import translate

_FACTS = ("recipe", "options", "provenance", "data", "origin", "layout")
_MOST_BYTES = 64 * 1024  # of a version's facts as JSON


def response(found: Lineage, limit: int) -> pb.GetLineageResponse:
    """Facts take up to a quarter of ``limit`` bytes, those of the nearest versions first. Raises
    InvalidArgument (RESPONSE_TOO_LARGE) when names and edges alone exceed it."""
    answer = pb.GetLineageResponse(
        edges=[
            pb.LineageEdge(parent=edge.parent, child=edge.child, relation=edge.relation)
            for edge in found.edges
        ],
        truncated=found.truncated,
    )
    room = limit // 4
    for node in found.nodes:
        message = answer.nodes.add()
        message.model_version, message.deleted = node.name, node.deleted
        message.kind = translate.KINDS[node.kind]
        message.create_time.FromDatetime(node.create_time)
        facts = facts_of(node)
        size = len(json.dumps(facts))
        if facts and size <= min(room, _MOST_BYTES):
            room -= size
            message.metadata.update(facts)
    if answer.ByteSize() > limit:
        raise InvalidArgument(
            f"the lineage has {len(found.nodes):,} versions, which is more than one answer of"
            f" {limit:,} bytes holds; ask for fewer steps",
            reason="RESPONSE_TOO_LARGE",
            field="depth",
        )
    return answer


def facts_of(node: LineageNode) -> Mapping[str, Any]:
    """How a version was made."""
    facts = {name: node.metadata[name] for name in _FACTS if name in node.metadata}
    classifier = node.metadata.get("classifier")
    if isinstance(classifier, dict) and "options" in classifier:
        facts.setdefault("options", classifier["options"])
    return facts
