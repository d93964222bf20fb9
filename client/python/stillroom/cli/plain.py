"""Messages as JSON values for machines.

Keys are in snake_case, whole numbers are numbers, enums are the words that the commands take, times
are RFC 3339.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as Any_
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError, Message

from stillroom.errors import BudgetExceeded, FidelityTooLow, StillroomError
from stillroom.snapshots import OperationSnapshot


def plain(value: Any) -> Any:
    """``value`` (a message or a part of one) as dicts, lists, strings and numbers."""
    if not isinstance(value, Message):
        return value
    if isinstance(value, Any_):
        return _unpacked(value)
    if value.DESCRIPTOR.full_name.startswith("google.protobuf."):
        return _whole(MessageToDict(value))  # Timestamp, Duration, Struct: JSON forms of their own
    result: dict[str, Any] = {}
    for field in value.DESCRIPTOR.fields:
        if not field.has_presence or value.HasField(field.name):
            result[field.name] = _field(field, getattr(value, field.name))
    return result


def _unpacked(packed: Any_) -> Any:
    """What is in it; only its type where this client does not know that."""
    try:
        found = descriptor_pool.Default().FindMessageTypeByName(packed.TypeName())
        return plain(message_factory.GetMessageClass(found).FromString(packed.value))
    except (KeyError, DecodeError):
        return {"type": packed.TypeName()}


def _whole(value: Any) -> Any:
    """Whole numbers as int: a Struct has no other numbers than double."""
    if isinstance(value, dict):
        return {key: _whole(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _field(field: Any, value: Any) -> Any:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        of = entry.fields_by_name["value"]
        return {str(key): _single(of, value[key]) for key in sorted(value)}
    if field.is_repeated:
        return [_single(field, item) for item in value]
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        names = field.enum_type.values_by_number
        if value not in names:
            return value
        prefix = names[0].name.removesuffix("UNSPECIFIED")
        return names[value].name.removeprefix(prefix).lower()
    return plain(value)


def operation(snapshot: OperationSnapshot) -> dict[str, Any]:
    """An operation with its metadata, and its response or error once it is done."""
    result = {"name": snapshot.name, "done": snapshot.done, **plain(snapshot.metadata)}
    problem = snapshot.error
    if problem is not None:
        result["error"] = error(problem)
    elif snapshot.done:
        result["response"] = plain(snapshot.response())
    return result


def error(problem: StillroomError) -> dict[str, Any]:
    """An error with everything it knows."""
    result = {
        "code": problem.code,
        "reason": problem.reason,
        "message": problem.message,
        "field": problem.field,
        "metadata": problem.metadata,
        "retry_after": problem.retry_after,
    }
    if isinstance(problem, FidelityTooLow):
        result["report"] = plain(problem.report)
    if isinstance(problem, BudgetExceeded):
        result["estimate"] = plain(problem.estimate)
    return result
