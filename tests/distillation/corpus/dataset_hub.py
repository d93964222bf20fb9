"""The fake Hub, with datasets: the same files, other addresses, and a card with configurations."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from imports import fake_hub
from imports.fake_hub import COMMIT, FakeHub, Repo

MOVED = "f" * 40


@dataclass
class DatasetHub(FakeHub):
    """``cards`` by repository. ``moved`` means that every branch names another commit now."""

    cards: dict[str, dict[str, Any]] = field(default_factory=dict)
    moved: bool = False


def install(monkeypatch: Any) -> None:
    """Lets the handler of the fake Hub understand a dataset's addresses."""
    handler = fake_hub._Handler
    answer, info = handler._answer, handler._info

    def answer_dataset(self: Any, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.is_dataset = path.startswith(("/datasets/", "/api/datasets/"))
        self.path = (
            self.path.replace("/datasets/", "/", 1)
            if path.startswith("/datasets/")
            else (self.path)
        )
        answer(self, body=body)

    def info_dataset(self: Any, name: str, repo: Repo, revision: str) -> None:
        if not getattr(self, "is_dataset", False):
            return info(self, name, repo, revision)
        if revision not in ("main", COMMIT):
            return self._error(404, "RevisionNotFound")
        if repo.gated:
            return self._error(403, "GatedRepo")
        siblings = [
            fake_hub._sibling(path, data, path in repo.large) for path, data in repo.files.items()
        ]
        hub: Any = self.hub
        sha = MOVED if getattr(hub, "moved", False) else COMMIT
        body: dict[str, Any] = {"_id": "1", "id": name, "sha": sha, "siblings": siblings}
        if name in getattr(hub, "cards", {}):
            body["cardData"] = hub.cards[name]
        return self._send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    monkeypatch.setattr(handler, "_answer", answer_dataset)
    monkeypatch.setattr(handler, "_info", info_dataset)
