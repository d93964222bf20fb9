"""Which part of the Hub answers a request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hub.answers import Answer, error

if TYPE_CHECKING:
    from hub.state import User

KINDS = ("models", "datasets")


@dataclass(frozen=True)
class Request:
    """``parts`` are those of the path between slashes, unquoted one by one."""

    method: str
    parts: tuple[str, ...]
    query: dict[str, str]
    body: bytes
    token: str | None
    range: str | None

    def json(self) -> Any:
        return json.loads(self.body or b"{}")


class Part(Protocol):
    """Answers None to what is not its own."""

    def answer(self, request: Request, user: User | None) -> Answer | None: ...


def route(parts: Sequence[Part], request: Request, user: User | None) -> Answer:
    for part in parts:
        answer = part.answer(request, user)
        if answer is not None:
            return answer
    raise error(404, "", f"Cannot {request.method} /{'/'.join(request.parts)}")
