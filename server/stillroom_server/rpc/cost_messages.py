"""Estimates between their JSON, which the domain reads and writes, and their messages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from google.protobuf import any_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from stillroom.v1 import cost_service_pb2 as pb
from stillroom_server.rpc import translate
from stillroom_server.rpc.json_messages import check, from_json

M = TypeVar("M", bound=Message)

_SHORT_BYTES = 3_500
"""Of an estimate in trailers, which peers limit to about 8 KiB; there it is written in base64."""

_INTEGERS = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)


def estimate(values: Mapping[str, Any]) -> pb.CostEstimate:
    """An estimate."""
    return made(pb.CostEstimate, values)


def made(message_class: type[M], values: Mapping[str, Any]) -> M:
    """As ``json_messages.from_json``, in a third of the time for what this release writes: an
    estimate has two thousand fields, and a recommendation is of dozens."""
    try:
        return message_class(**_timed(values))
    except (TypeError, ValueError):
        return from_json(values, message_class())


def _timed(value: Any, name: str = "") -> Any:
    """With times as messages of their own."""
    if isinstance(value, Mapping):
        return {key: _timed(each, key) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_timed(each) for each in value]
    if isinstance(value, str) and name.endswith("_time"):
        return translate.timestamp(datetime.fromisoformat(value))
    return value


def packed(values: Mapping[str, Any] | None) -> any_pb2.Any | None:
    """An estimate as Any; None stays None."""
    if values is None:
        return None
    result = any_pb2.Any()
    result.Pack(estimate(values))
    return result


def short(values: Mapping[str, Any]) -> pb.CostEstimate:
    """An estimate for a status' details: without phases, assumptions and omissions, and, where it
    is still too large, without what matters least to who is refused."""
    result = estimate(values)
    for name in ("phases", "assumptions", "omissions"):
        result.physical.ClearField(name)
    if not values.get("physical"):
        result.ClearField("physical")
    for drop in (_rates, _disagreements, _table, _notes):
        if result.ByteSize() <= _SHORT_BYTES:
            break
        drop(result)
    return result


def plain(message: Message, path: str) -> dict[str, Any]:
    """The fields of ``message`` that are set, in JSON with the names of the proto; unlike the JSON
    that protobuf writes, with integers of 64 bits as numbers.

    Raises InvalidArgument, the field beginning with ``path``, as ``json_messages.to_json``.
    """
    check(message, path)
    return _plain(message)


def _plain(message: Message) -> dict[str, Any]:
    return {field.name: _value(field, value) for field, value in message.ListFields()}


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        return [_single(field, each) for each in value]
    return _single(field, value)


def _single(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, Message):
        return _plain(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return int(value) if field.cpp_type in _INTEGERS else value


def _rates(result: pb.CostEstimate) -> None:
    result.physical.calibration.ClearField("rates")


def _disagreements(result: pb.CostEstimate) -> None:
    result.ClearField("disagreements")


def _table(result: pb.CostEstimate) -> None:
    result.ClearField("table")


def _notes(result: pb.CostEstimate) -> None:
    """All that people would read, in every figure."""

    def clear(message: Message) -> None:
        for field, value in message.ListFields():
            if field.name == "note":
                message.ClearField("note")
            elif field.message_type is not None:
                for each in value if field.is_repeated else (value,):
                    clear(each)

    clear(result)
