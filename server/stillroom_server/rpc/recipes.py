"""How to distill, from the protocol's recipes to the options of the domain."""

from __future__ import annotations

from typing import Any

from stillroom.v1 import common_pb2
from stillroom.v1 import distillation_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument, Unimplemented
from stillroom_server.distillation.options import StaticOptions
from stillroom_server.operations.model import Json
from stillroom_server.rpc import translate

_ELEMENT_TYPES: dict[int, str] = {
    common_pb2.ELEMENT_TYPE_FLOAT32: "float32",
    common_pb2.ELEMENT_TYPE_FLOAT16: "float16",
    common_pb2.ELEMENT_TYPE_INT8: "int8",
}
_POOLINGS: dict[int, str | None] = {
    common_pb2.POOLING_UNSPECIFIED: None,
    common_pb2.POOLING_MEAN: "mean",
    common_pb2.POOLING_FIRST: "first",
    common_pb2.POOLING_LAST: "last",
    common_pb2.POOLING_POOLER: "pooler",
}


def recipe(request: pb.DistillRequest) -> Json:
    """The recipe of a request as JSON. Raises InvalidArgument on a field of it, and Unimplemented
    for recipes that this version does not have."""
    match request.WhichOneof("recipe"):
        case None:
            return {"static": StaticOptions().to_json()}
        case "auto":
            return {"static": StaticOptions(seed=request.auto.seed).to_json()}
        case "static":
            return {"static": static_options(request.static).to_json()}
        case other:
            raise Unimplemented(
                f"the recipe {other} is part of the protocol but not of this server's version;"
                " static is",
                reason="RECIPE_NOT_IMPLEMENTED",
                field=other,
                metadata={"recipe": str(other)},
            )


def static_options(given: pb.StaticRecipe) -> StaticOptions:
    """The options of a StaticRecipe, checked."""
    values: dict[str, Any] = {
        "add_words": list(given.add_words),
        "remove_tokens": list(given.remove_tokens),
        "seed": given.seed,
        "prompt_name": given.prompt_name or None,
        "pooling": _pooling(given.pooling),
    }
    values |= _dimensions(given)
    if given.HasField("sif_coefficient"):
        values["sif_coefficient"] = given.sif_coefficient or None
    if given.HasField("remove_pattern"):
        values["remove_pattern"] = given.remove_pattern or None
    if given.HasField("normalize"):
        values["normalize"] = given.normalize
    if given.max_tokens:
        values["max_tokens"] = given.max_tokens
    element_type = translate.element_type(given.element_type, "static.element_type", _ELEMENT_TYPES)
    if element_type is not None:
        values["element_type"] = element_type
    return StaticOptions.from_json(values, path="static")


def _pooling(number: int) -> str | None:
    if number not in _POOLINGS:
        raise translate.unknown_value(number, "static.pooling")
    return _POOLINGS[number]


def _dimensions(given: pb.StaticRecipe) -> dict[str, Any]:
    match given.WhichOneof("dimensionality"):
        case "dimensions":
            return {"dimensions": given.dimensions}
        case "variance":
            return {"dimensions": given.variance}
        case "all_dimensions":
            if not given.all_dimensions:
                raise InvalidArgument(
                    "all_dimensions must be true when it is set", field="static.all_dimensions"
                )
            return {"dimensions": None}
    return {}
