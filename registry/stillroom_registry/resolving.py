"""Resolving a name in microseconds, without ever being stale."""

from __future__ import annotations

from stillroom_registry.database import Database
from stillroom_registry.locating import find
from stillroom_registry.names import ModelRef
from stillroom_registry.reading import Reader
from stillroom_registry.values import ModelVersion

MAX_ENTRIES = 1024


class Resolver:
    """Remembers what names mean while the database stands still, and versions for as long as it has
    room: a version never changes, only names do.

    Every call asks the database for its data version: any commit, of another process too, empties
    the memory of names. The data version is read *before* what is remembered under it, so an answer
    read during a commit is forgotten, not kept. Thread-safe: the pair below is replaced whole.
    """

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader
        self._names: tuple[int, dict[str | ModelRef, ModelVersion]] = (-1, {})
        self._versions: dict[tuple[str, int], ModelVersion] = {}

    def resolve(self, ref: str | ModelRef) -> ModelVersion:
        current = self._database.data_version()
        seen, names = self._names
        if seen == current:
            found = names.get(ref)
            if found is not None:
                return found
        else:
            names = {}
            self._names = (current, names)
        version = self._find(ModelRef.parse(ref) if isinstance(ref, str) else ref)
        if len(names) >= MAX_ENTRIES:
            names.clear()
        names[ref] = version
        return version

    def _find(self, ref: ModelRef) -> ModelVersion:
        found = find(self._database, ref, self._versions) or self._reader.load(ref)
        if len(self._versions) >= MAX_ENTRIES:
            self._versions.clear()
        self._versions[found.model, found.version] = found
        return found
