"""Whether an estimate may measure this host."""

from __future__ import annotations

from enum import StrEnum


class Policy(StrEnum):
    """As in the protocol's CalibrationPolicy, unset being WHEN_NEEDED."""

    WHEN_NEEDED = "CALIBRATION_POLICY_WHEN_NEEDED"
    NEVER = "CALIBRATION_POLICY_NEVER"
    REFRESH = "CALIBRATION_POLICY_REFRESH"
