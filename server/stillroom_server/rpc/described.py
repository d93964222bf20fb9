"""What people say about a model: how much of it, and of what form."""

from __future__ import annotations

from collections.abc import Mapping

from stillroom_registry.errors import InvalidArgument

_MAX_DESCRIPTION_BYTES = 4096
_MAX_LABELS = 64
_MAX_LABEL_KEY = 63
_MAX_LABEL_VALUE_BYTES = 256


def check_description(description: str, field: str) -> None:
    """InvalidArgument on ``field`` when it is too long."""
    if len(description.encode()) > _MAX_DESCRIPTION_BYTES:
        raise InvalidArgument(f"{field} is longer than {_MAX_DESCRIPTION_BYTES} bytes", field=field)


def check_labels(labels: Mapping[str, str], field: str) -> None:
    """InvalidArgument on ``field`` when they are too many, too long or oddly named."""
    if len(labels) > _MAX_LABELS:
        raise InvalidArgument(f"{len(labels)} labels; at most {_MAX_LABELS}", field=field)
    for key, value in labels.items():
        plain = key.replace("_", "").replace("-", "")
        wrong_key = not (plain.isascii() and plain.isalnum() and key == key.lower())
        if wrong_key or len(key) > _MAX_LABEL_KEY or not key[0].isalpha():
            raise InvalidArgument(
                f"the label key {key[:80]!r} must match [a-z][a-z0-9_-]{{0,62}}", field=field
            )
        if len(value.encode()) > _MAX_LABEL_VALUE_BYTES:
            raise InvalidArgument(
                f"the label {key!r} is longer than {_MAX_LABEL_VALUE_BYTES} bytes", field=field
            )
