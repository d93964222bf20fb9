"""The fields of a request: which are set, and which an error is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf.message import Message

from stillroom_registry.errors import StillroomError


@contextmanager
def at_field(field: str, *, instead_of: str | None = None) -> Iterator[None]:
    """Names ``field`` in every domain error on its way out, or in those that name ``instead_of``:
    what raised it cannot know where in a request its argument stood."""
    try:
        yield
    except StillroomError as error:
        if instead_of is None or error.field == instead_of:
            error.field = field
        raise


def set_fields(message: Message) -> dict[str, Any]:
    """The fields of ``message`` that are set, by name."""
    return {field.name: value for field, value in message.ListFields()}
