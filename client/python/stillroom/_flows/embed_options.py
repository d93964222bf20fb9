"""Options of embedding from keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillroom._protocol import enums
from stillroom._protocol.messages import build
from stillroom.embeddings import EmbedOptions
from stillroom.errors import InvalidArgument
from stillroom.v1 import common_pb2
from stillroom.v1 import embedding_service_pb2 as pb


def known(options: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` without those that are None. InvalidArgument for one that is not of ``names``,
    the annotations of a TypedDict."""
    given = {key: value for key, value in options.items() if value is not None}
    unknown = given.keys() - names.keys()
    if unknown:
        raise InvalidArgument(
            f"{min(unknown)} is no option; there are {', '.join(names)}",
            reason="UNKNOWN_OPTION",
            field=min(unknown),
        )
    return given


def make(options: Mapping[str, Any]) -> pb.EmbedOptions:
    """The message of an EmbedOptions; InvalidArgument names the option at fault."""
    given = known(options, EmbedOptions.__annotations__)
    if "prompt" in given and "prompt_name" in given:
        raise InvalidArgument("give prompt or prompt_name, not both", field="prompt_name")
    for name, enum in (
        ("element_type", common_pb2.ElementType),
        ("truncation_direction", pb.TruncationDirection),
    ):
        if name in given:
            given[name] = enums.number(enum, given[name], name)
    return build(pb.EmbedOptions, **given)
