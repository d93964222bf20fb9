"""What is told of the registry at a scrape: how full it is, and how sound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TypeAlias

from stillroom_registry.registry import Registry
from stillroom_server.maintenance.scrub import Scrubber

Read: TypeAlias = Callable[[], Mapping[tuple[str, ...], float]]
MakeGauge: TypeAlias = Callable[[str, str, tuple[str, ...], Read], object]
"""Makes a gauge of its name, its text, the names of its labels, and what reads it."""


def registry_gauges(registry: Registry, scrubber: Scrubber | None, make: MakeGauge) -> None:
    """Gauges without labels; one whose value is not known is missing."""

    def gauge(name: str, text: str, read: Callable[[], float | None]) -> None:
        def labeled() -> Mapping[tuple[str, ...], float]:
            value = read()
            return {} if value is None else {(): value}

        make(f"stillroom_registry_{name}", text, (), labeled)

    gauge(
        "used_bytes",
        "Bytes of the files of all models, those that wait for a collection included",
        lambda: registry.usage().used_bytes,
    )
    gauge(
        "quota_bytes",
        "How many there may be; missing without registry_quota_bytes",
        lambda: registry.usage().quota_bytes,
    )
    gauge(
        "quarantined_versions",
        "Versions with a file that was found damaged",
        lambda: registry.integrity_state().quarantined_versions,
    )
    gauge(
        "oldest_check_timestamp_seconds",
        "When the file that was looked at least recently was; missing while there is none",
        lambda: _seconds(registry.integrity_state().oldest_check),
    )
    gauge(
        "last_scrub_timestamp_seconds",
        "When the scrubber had last looked at all that was due; missing until then",
        lambda: None if scrubber is None else _seconds(scrubber.last_round),
    )


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
