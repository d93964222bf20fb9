"""Resolving a name in microseconds, without ever being stale."""

from __future__ import annotations

from stillroom_registry.database import Database
from stillroom_registry.locating import find, number_of
from stillroom_registry.names import ModelRef
from stillroom_registry.reading import Reader
from stillroom_registry.values import ModelVersion

MAX_ENTRIES = 1024


class Resolver:
    """Remembers what names meant, for as many as it has room, and in which state of the database.

    A name that is remembered asks for the database's data version, which any commit changes, of
    another process too. While that stands still the memory answers; else the database says which
    number the name means now, and if it is still the same, the memory has the rest: a version never
    changes. The data version is read *before* what is remembered under it, so an answer read during
    a commit is asked for again; and a name new to the memory, asked for once perhaps, is spared it.
    Thread-safe: each step on the dictionary is one.
    """

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader
        self._memory: dict[str | ModelRef, tuple[int | None, ModelVersion]] = {}

    def resolve(self, ref: str | ModelRef) -> ModelVersion:
        known = self._memory.get(ref)
        state = None
        if known is not None:
            state = self._database.data_version()
            if known[0] == state:
                return known[1]
        parsed = ModelRef.parse(ref) if isinstance(ref, str) else ref
        if known is not None and number_of(self._database, parsed) == known[1].version:
            version = known[1]
        else:
            version = find(self._database, parsed) or self._reader.load(parsed)
            if len(self._memory) >= MAX_ENTRIES:
                self._memory.clear()
        self._memory[ref] = (state, version)
        return version
