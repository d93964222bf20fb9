"""Messages whose JSON form, with the names of the proto, is what the domain reads and writes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from stillroom_registry.errors import InvalidArgument
from stillroom_server.operations.model import Json
from stillroom_server.rpc import translate

M = TypeVar("M", bound=Message)


def to_json(message: Message, path: str) -> dict[str, Any]:
    """The fields of ``message`` that are set.

    Raises InvalidArgument, the field beginning with ``path``, for a number that an enum does not
    list (UNKNOWN_VALUE) and one that is not finite (NOT_FINITE): JSON has neither.
    """
    check(message, path)
    fields: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return fields


def from_json(values: Json, message: M) -> M:
    """``message`` with ``values``. Fields and enum values that it does not know stay unset: what is
    stored may be of another release."""
    return json_format.ParseDict(dict(values), message, ignore_unknown_fields=True)


def check(message: Message, path: str) -> None:
    """Raises as ``to_json``."""
    for field, value in message.ListFields():
        name = f"{path}.{field.name}"
        for where, each in _values(field, value, name):
            if isinstance(each, Message):
                check(each, where)
            elif field.enum_type is not None:
                if each not in field.enum_type.values_by_number:
                    raise translate.unknown_value(each, where)
            elif isinstance(each, float) and not math.isfinite(each):
                raise InvalidArgument(
                    f"{where} is {each}; it must be finite", reason="NOT_FINITE", field=where
                )


def _values(field: FieldDescriptor, value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if not field.is_repeated:
        yield name, value
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        for key, each in value.items():
            yield f"{name}[{key!r}]", each
    else:
        for index, each in enumerate(value):
            yield f"{name}[{index}]", each
