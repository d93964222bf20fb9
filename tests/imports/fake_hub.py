"""The Hub of ``hub.server`` with repositories that are there from the start, for those who only
read: each is a model and a dataset at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hub.faults import Fault
from hub.server import Hub
from hub.state import MAIN, Commit, Entry, User

COMMIT = "0123456789abcdef0123456789abcdef01234567"
MOVED = "f" * 40
_KINDS = ("models", "datasets")


@dataclass
class Repo:
    """``files`` by path, ``large`` those in LFS, ``token`` needed to see it, ``broken`` files whose
    bytes arrive changed."""

    files: dict[str, bytes]
    large: frozenset[str] = frozenset()
    token: str | None = None
    gated: bool = False
    broken: frozenset[str] = frozenset()


@dataclass
class FakeHub:
    """``cards`` are the metadata of datasets, by repository."""

    repos: dict[str, Repo]
    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    hub: Hub = field(default_factory=Hub)

    @property
    def url(self) -> str:
        return self.hub.url

    @property
    def requests(self) -> list[tuple[str, str, str | None]]:
        return self.hub.requests

    def fail(self) -> None:
        """From here on every request is answered with 503."""
        self.hub.faults.plan(Fault("", status=503, times=10_000))

    def move(self) -> None:
        """From here on every branch names another commit, with the same files."""
        for repo in self.hub.store.repos.values():
            files = repo.commits[repo.branches[MAIN]].files
            self.hub.store.commit(repo, MAIN, files, "moved", oid=MOVED)

    @contextmanager
    def running(self) -> Iterator[FakeHub]:
        for name, repo in self.repos.items():
            for kind in _KINDS:
                self._add(kind, name, repo)
        with self.hub.running():
            yield self

    def _add(self, kind: str, name: str, given: Repo) -> None:
        store = self.hub.store
        repo = store.create(kind, name, private=given.token is not None)
        repo.gated = given.gated
        repo.card = self.cards.get(name)
        repo.broken = dict.fromkeys(given.broken)
        files = {path: self._entry(path, data, given) for path, data in given.files.items()}
        # The only commit there is, as none of these have a history.
        repo.commits = {COMMIT: Commit(COMMIT, None, files, "initial commit", "")}
        repo.branches, repo.tags = {MAIN: COMMIT}, {"v1": COMMIT}
        if given.token is not None:
            store.users[given.token] = User("owner", frozenset({name.partition("/")[0]}))

    def _entry(self, path: str, data: bytes, given: Repo) -> Entry:
        if path not in given.large:
            return Entry.small(data)
        entry = self.hub.store.entry("large.bin", data)
        return entry if data else Entry.small(data)
