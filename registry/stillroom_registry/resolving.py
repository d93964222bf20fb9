"""Resolving a name in microseconds, without ever being stale."""

from __future__ import annotations

from collections.abc import Callable

from stillroom_registry.names import ModelRef
from stillroom_registry.values import ModelVersion

MAX_ENTRIES = 4096


class Resolver:
    """Remembers what names mean while the database stands still.

    Every call asks the database for its data version (about 5 us): any commit, of another process
    too, empties the memory. The version is read *before* what is remembered under it, so an answer
    read during a commit is forgotten, not kept. Thread-safe: the pair below is replaced whole.
    """

    def __init__(
        self, load: Callable[[ModelRef], ModelVersion], data_version: Callable[[], int]
    ) -> None:
        self._load = load
        self._data_version = data_version
        self._known: tuple[int, dict[str | ModelRef, ModelVersion]] = (-1, {})

    def resolve(self, ref: str | ModelRef) -> ModelVersion:
        current = self._data_version()
        version, entries = self._known
        if version == current:
            found = entries.get(ref)
            if found is not None:
                return found
        else:
            entries = {}
            self._known = (current, entries)
        loaded = self._load(ModelRef.parse(ref) if isinstance(ref, str) else ref)
        if len(entries) >= MAX_ENTRIES:
            entries.clear()
        entries[ref] = loaded
        return loaded
