"""What a long step needs of the operation that it is part of."""

from __future__ import annotations

from typing import Protocol


class Context(Protocol):
    """See ``stillroom_server.operations.context.OperationContext``."""

    def progress(
        self, phase: str, done: int, total: int, *, unit: str, message: str = ""
    ) -> None: ...
    def check_cancelled(self) -> None: ...
