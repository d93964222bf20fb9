"""The regular expression by which tokens are dropped."""

from __future__ import annotations

import re

from stillroom_registry.errors import InvalidArgument

REMOVE_UNUSED = r"\[unused\d+\]"  # BERT's spare rows, which no text reaches


def check_pattern(pattern: str) -> re.Pattern[str]:
    """Raises InvalidArgument (field remove_pattern) unless it is a regular expression."""
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise InvalidArgument(
            f"remove_pattern is no regular expression: {error}", field="remove_pattern"
        ) from error
