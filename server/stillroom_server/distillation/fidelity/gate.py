"""The gate: what a student must reach, or its operation fails with the report attached.

Imports nothing that trains: the front checks requests with it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from stillroom_registry.errors import FailedPrecondition, InvalidArgument

_LOWEST = {"mean_cosine": -1.0, "similarity_spearman": -1.0, "recall_at_10": 0.0}
_BULKY = ("distribution",)  # drawn in figures; an error need not carry it


class FidelityTooLow(FailedPrecondition):
    """The student is worse than the request allows. ``report`` is the whole report;
    ``metadata["report"]`` the same as JSON, so that a stored error still has it."""

    default_reason = "FIDELITY_TOO_LOW"

    def __init__(
        self, message: str, metadata: Mapping[str, str], report: Mapping[str, Any]
    ) -> None:
        kept = {key: value for key, value in report.items() if key not in _BULKY}
        text = json.dumps(kept, allow_nan=False, separators=(",", ":"))
        super().__init__(message, field="minimum_fidelity", metadata={**metadata, "report": text})
        self.report = dict(report)


@dataclass(frozen=True)
class MinimumFidelity:
    """Least values of three figures of a report; None is no demand.

    Raises InvalidArgument with the field for what is no number or outside the figure's range.
    """

    mean_cosine: float | None = None
    similarity_spearman: float | None = None
    recall_at_10: float | None = None

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                _refuse(name, f"{value!r} is not a number")
            if not (math.isfinite(value) and _LOWEST[name] <= value <= 1.0):
                _refuse(name, f"{value!r} is not between {_LOWEST[name]:g} and 1")

    @classmethod
    def from_json(cls, value: object) -> MinimumFidelity:
        """From a JSON object with these names, or None. Raises InvalidArgument whose field begins
        with ``minimum_fidelity``."""
        if value is None:
            return cls()
        if not isinstance(value, Mapping):
            raise InvalidArgument("the demands are not an object", field="minimum_fidelity")
        names = [field.name for field in fields(cls)]
        for name in value:
            if name not in names:
                raise InvalidArgument(
                    f"no figure is called {name!r}; there are {', '.join(names)}",
                    reason="UNKNOWN_OPTION",
                    field=f"minimum_fidelity.{name}",
                )
        return cls(**value)

    def to_json(self) -> dict[str, float]:
        return {name: value for name, value in asdict(self).items() if value is not None}

    def check(self, report: Mapping[str, Any]) -> None:
        """Raises FidelityTooLow unless every demanded figure was measured and reached."""
        asked = self.to_json()
        short = {
            name: report.get(name)
            for name, least in asked.items()
            if not isinstance(report.get(name), int | float) or not report[name] >= least
        }
        if not short:
            return
        said = ", ".join(
            f"{name} is {_shown(found)}, asked for {asked[name]:g}" for name, found in short.items()
        )
        metadata = {}
        for name, least in asked.items():
            metadata[f"{name}_asked"] = f"{least:g}"
            metadata[f"{name}_measured"] = _shown(report.get(name))
        raise FidelityTooLow(
            f"the student is not good enough, so it was not registered: {said}; ask for less, or "
            "give more texts, more dimensions or another recipe",
            metadata,
            report,
        )


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else "not measured"


def _refuse(name: str, why: str) -> None:
    raise InvalidArgument(f"{name}: {why}", field=f"minimum_fidelity.{name}")
