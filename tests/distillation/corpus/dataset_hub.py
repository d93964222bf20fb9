"""The fake Hub, as those who read datasets know it."""

from __future__ import annotations

from imports.fake_hub import FakeHub as DatasetHub

__all__ = ["DatasetHub"]
