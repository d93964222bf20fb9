"""Objects that are built when they are first used, modules included.

What estimates need takes a fifth of a server's start to import, and many servers never estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from stillroom_server.inference.lazy import Lazy

T = TypeVar("T")


def late(build: Callable[[], T]) -> T:
    """Stands for what ``build`` makes: its first attribute that is asked for builds it, once, in
    whatever thread. ``build`` should import what it needs."""
    return cast(T, _Late(build))


class _Late:
    def __init__(self, build: Callable[[], object]) -> None:
        self._lazy = Lazy(build)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lazy.get(), name)
