"""What may be said about a model and its versions, and how much of it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from stillroom_registry.errors import InvalidArgument
from stillroom_registry.values import JSON

MAX_METADATA_BYTES = 1 << 20
MAX_DESCRIPTION = 10_000
MAX_LABELS = 64
MAX_LABEL = 256


def check_description(description: str) -> None:
    """At most 10,000 characters that every database can hold, or InvalidArgument."""
    surrogates = any("\ud800" <= character <= "\udfff" for character in description)
    if len(description) > MAX_DESCRIPTION or surrogates or "\0" in description:
        raise InvalidArgument(
            f"A description is at most {MAX_DESCRIPTION:,} characters of valid Unicode, without "
            "NUL.",
            field="description",
        )


def check_metadata(metadata: Mapping[str, JSON]) -> None:
    """A JSON object of at most 1 MiB, without NaN, or InvalidArgument."""
    try:
        size = len(json.dumps(dict(metadata), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"The metadata is no JSON: {error}.", field="metadata") from error
    if size > MAX_METADATA_BYTES:
        raise InvalidArgument(
            f"The metadata has {size:,} bytes; at most {MAX_METADATA_BYTES:,} are kept.",
            field="metadata",
        )


def check_labels(labels: Mapping[str, str]) -> None:
    """At most 64 pairs of short strings, or InvalidArgument."""
    short = all(
        isinstance(text, str) and len(text) <= MAX_LABEL for pair in labels.items() for text in pair
    )
    if len(labels) > MAX_LABELS or not short or "" in labels:
        raise InvalidArgument(
            f"Labels are at most {MAX_LABELS} pairs of strings, each at most {MAX_LABEL} "
            "characters, the key not empty.",
            field="labels",
        )
