"""What a recipe tells its caller while it runs."""

from __future__ import annotations

from typing import Protocol


class Context(Protocol):
    """What a recipe tells its caller while it runs; ``OperationContext`` is one."""

    def progress(
        self, phase: str, done: int, total: int, *, unit: str, message: str = ""
    ) -> None: ...

    def check_cancelled(self) -> None: ...


class Silent:
    """A context for callers who do not ask."""

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        pass

    def check_cancelled(self) -> None:
        pass
