"""The fields of a request: which are set, and which an error is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from google.protobuf.message import Message

from stillroom_registry.errors import StillroomError


@contextmanager
def at_field(field: str) -> Iterator[None]:
    """Names ``field`` in every domain error on its way out: what raised it cannot know where in a
    request its argument stood."""
    try:
        yield
    except StillroomError as error:
        error.field = field
        raise


def set_fields(message: Message) -> dict[str, Any]:
    """The fields of ``message`` that are set, by name."""
    return {field.name: value for field, value in message.ListFields()}
