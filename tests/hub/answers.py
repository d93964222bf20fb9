"""Answers, and refusals as the Hub words them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200, **headers: str) -> Answer:
        told = {key.replace("_", "-"): text for key, text in headers.items()}
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json", **told})


class Refused(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def error(status: int, code: str, message: str, **body: object) -> Refused:
    """``code`` is what the library tells errors apart by."""
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    told = json.dumps({"error": message, **body}).encode()
    return Refused(Answer(status, told, {"Content-Type": "application/json", **headers}))


def no_repo(known_user: bool) -> Refused:
    """A missing repository and one that may not be seen look the same."""
    if known_user:
        return error(404, "RepoNotFound", "Repository not found")
    return error(401, "RepoNotFound", "Invalid username or password.")


def no_revision(revision: str) -> Refused:
    return error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
