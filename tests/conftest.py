"""What holds for all tests.

Property tests choose the same examples in every run, so that a refused change is one that broke
something; and as slowly as a busy machine likes. ``--hypothesis-profile search`` looks for new ones
instead.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("repeatable", derandomize=True, **_UNTIMED)
settings.register_profile("search", **_UNTIMED)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def garbage_is_collected() -> Iterator[None]:
    """A test that turned it off for all that follow would leave them gigabytes of garbage, and
    whoever collects it on purpose seconds of work."""
    yield
    collected = gc.isenabled()
    gc.enable()
    assert collected
