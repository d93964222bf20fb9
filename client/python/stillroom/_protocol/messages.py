"""Requests from keyword arguments."""

from __future__ import annotations

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
