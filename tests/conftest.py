"""How property tests choose their examples.

The same ones in every run, so that a refused change is one that broke something; and as slowly as a
busy machine likes. ``--hypothesis-profile search`` looks for new ones instead.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("repeatable", derandomize=True, **_UNTIMED)
settings.register_profile("search", **_UNTIMED)
settings.load_profile("repeatable")
