"""Requests from keyword arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf.message import Message

from stillroom.errors import InvalidArgument

M = TypeVar("M", bound=Message)


def build(message: type[M], /, **fields: Any) -> M:
    """A message with ``fields``, leaving unset what is None.

    Raises InvalidArgument that names the field whose value has another type or is out of range.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        return message(**given)
    except (TypeError, ValueError) as error:
        for name, value in given.items():
            try:
                message(**{name: value})
            except (TypeError, ValueError) as cause:
                raise InvalidArgument(
                    f"{name} cannot be {value!r:.200}: {cause}", reason="BAD_TYPE", field=name
                ) from None
        raise InvalidArgument(str(error), reason="BAD_TYPE") from None


def from_mapping(kind: type[M], given: Mapping[str, Any] | M | None, field: str) -> M | None:
    """A message of the fields in ``given``; one that is a message already, or None, as it is.
    InvalidArgument on ``field`` for what the message does not have."""
    if given is None or isinstance(given, kind):
        return given
    known = kind.DESCRIPTOR.fields_by_name
    if not isinstance(given, Mapping) or not given.keys() <= set(known):
        raise InvalidArgument(f"{field} is a dict of {', '.join(known)}", field=field)
    return build(kind, **given)
