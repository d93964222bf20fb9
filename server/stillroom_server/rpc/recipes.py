"""How to distill, from the protocol's recipes to the options of the domain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stillroom.v1 import common_pb2
from stillroom.v1 import distillation_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.quantizing.options import QuantizeOptions
from stillroom_server.distillation.transformer.options import TransformerOptions
from stillroom_server.distillation.tuning.options import TunedOptions
from stillroom_server.operations.model import Json
from stillroom_server.rpc import translate
from stillroom_server.rpc.fidelity_messages import ELEMENT_TYPES

_POOLINGS: dict[int, str | None] = {
    common_pb2.POOLING_UNSPECIFIED: None,
    common_pb2.POOLING_MEAN: "mean",
    common_pb2.POOLING_FIRST: "first",
    common_pb2.POOLING_LAST: "last",
    common_pb2.POOLING_POOLER: "pooler",
}
# Recipes by what they need of a corpus; auto takes either.
NEED_CORPUS = frozenset({"static_tuned", "transformer"})
REFUSE_CORPUS = frozenset({"static", "quantize"})


def name(request: pb.DistillRequest) -> str:
    """Which recipe a request asks for."""
    return request.WhichOneof("recipe") or "auto"


def recipe(request: pb.DistillRequest) -> Json:
    """The recipe of a request as JSON, ``{name: options}``. Raises InvalidArgument on a field of
    it."""
    chosen = name(request)
    return {chosen: _OPTIONS[chosen](getattr(request, chosen))}


def _auto(given: pb.AutoRecipe) -> Json:
    return {"seed": given.seed}


def _static(given: pb.StaticRecipe) -> Json:
    return StaticOptions.from_json(_static_values(given, "static"), path="static").to_json()


def _static_tuned(given: pb.StaticTunedRecipe) -> Json:
    path = "static_tuned"
    values = _given(
        given, "max_epochs", "time_budget_seconds", "held_out", "matryoshka_dimensions"
    ) | _present(given, "grow_words", "grow_pairs")
    values["static"] = _static_values(given.static, f"{path}.static")
    return TunedOptions.from_json(values, path=path).to_json()


def _transformer(given: pb.TransformerRecipe) -> Json:
    path = "transformer"
    values = _given(
        given,
        *("layers", "hidden_size", "dimensions", "max_epochs", "time_budget_seconds"),
        *("held_out", "seed", "max_tokens"),
    ) | _element_type(given.element_type, path)
    return TransformerOptions.from_json(values, path=path).to_json()


def _quantize(given: pb.QuantizeRecipe) -> Json:
    path = "quantize"
    values = _given(given, "vocabulary_clusters", "seed")
    values |= _element_type(given.element_type, path)
    return QuantizeOptions.from_json(values, path=path).to_json()


_OPTIONS: dict[str, Callable[[Any], Json]] = {
    "auto": _auto,
    "static": _static,
    "static_tuned": _static_tuned,
    "transformer": _transformer,
    "quantize": _quantize,
}


RECIPES = tuple(_OPTIONS)
"""Their names, as the protocol's oneof has them."""


def _static_values(given: pb.StaticRecipe, path: str) -> dict[str, Any]:
    if given.pooling not in _POOLINGS:
        raise translate.unknown_value(given.pooling, f"{path}.pooling")
    values = _given(given, "add_words", "remove_tokens", "seed", "prompt_name", "max_tokens")
    values |= {"pooling": _POOLINGS[given.pooling]}
    values |= _dimensions(given, path) | _present(given, "normalize")
    values |= _element_type(given.element_type, path)
    # Present and empty, these two turn something off.
    for field in ("sif_coefficient", "remove_pattern"):
        if given.HasField(field):
            values[field] = getattr(given, field) or None
    return values


def _dimensions(given: pb.StaticRecipe, path: str) -> dict[str, Any]:
    match given.WhichOneof("dimensionality"):
        case "dimensions":
            return {"dimensions": given.dimensions}
        case "variance":
            return {"dimensions": given.variance}
        case "all_dimensions":
            if not given.all_dimensions:
                raise InvalidArgument(
                    "all_dimensions must be true when it is set", field=f"{path}.all_dimensions"
                )
            return {"dimensions": None}
    return {}


def _element_type(number: int, path: str) -> dict[str, Any]:
    word = translate.element_type(number, f"{path}.element_type", ELEMENT_TYPES)
    return {} if word is None else {"element_type": word}


def _given(message: Any, *fields: str) -> dict[str, Any]:
    """The values of ``fields`` that are not zero, which is the server's choice in all of them."""
    known = message.DESCRIPTOR.fields_by_name
    values = {field: getattr(message, field) for field in fields}
    return {
        field: list(value) if known[field].is_repeated else value
        for field, value in values.items()
        if value
    }


def _present(message: Any, *fields: str) -> dict[str, Any]:
    return {field: getattr(message, field) for field in fields if message.HasField(field)}
