"""How a version came from its parents."""

from __future__ import annotations

from collections.abc import Mapping

from stillroom_registry.errors import InvalidArgument
from stillroom_registry.names import shown
from stillroom_registry.values import JSON, ModelKind

DISTILL, TRAIN, QUANTIZE, COPY = "distill", "train", "quantize", "copy"
RELATIONS = (DISTILL, TRAIN, QUANTIZE, COPY)


def relation_of(kind: ModelKind, metadata: Mapping[str, JSON]) -> str:
    """The relation of a version whose publisher named none, from what it says of itself."""
    if kind is ModelKind.CLASSIFIER:
        return TRAIN
    recipe = metadata.get("recipe")
    if recipe == QUANTIZE:
        return QUANTIZE
    return COPY if recipe is None else DISTILL


def check_relation(relation: str) -> str:
    """The relation, or InvalidArgument (BAD_RELATION)."""
    if relation in RELATIONS:
        return relation
    raise InvalidArgument(
        f"A version is made by one of {', '.join(RELATIONS)}, not {shown(relation)}.",
        reason="BAD_RELATION",
        field="relation",
    )
