"""Bytes as they arrive: what the Hub's library takes for a progress bar."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def meter(on_bytes: Callable[[int], None]) -> type:
    """A class of progress bars that tell ``on_bytes`` how many bytes have come since the last call.

    What it raises stops a download over HTTP; hf_xet calls from a thread of its own, where nothing
    may be raised.
    """
    caller = threading.get_ident()

    class Meter:
        def __init__(self, *_args: Any, total: int | None = None, **_kwargs: Any) -> None:
            self.total = total
            self.n = 0

        def __enter__(self) -> Meter:
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self, count: float | None = 1) -> None:
            self.n += int(count or 0)
            if threading.get_ident() == caller:
                on_bytes(int(count or 0))

        def update_transfer(self, count: float | None = 1) -> None: ...

        def set_transfer_postfix_str(self, *_args: Any, **_kwargs: Any) -> None: ...

        def set_postfix_str(self, *_args: Any, **_kwargs: Any) -> None: ...

        def refresh(self, *_args: Any, **_kwargs: Any) -> None: ...

        def close(self) -> None: ...

    return Meter
