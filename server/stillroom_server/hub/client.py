"""The library's HTTP client, as a server needs it: every wait ends, and no log shows an address
that is signed. Import it late: it loads huggingface_hub."""

from __future__ import annotations

import logging
import threading
from typing import Any

import httpx2
from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import hf_request_event_hook
from huggingface_hub.utils.tqdm import disable_progress_bars

_CONNECT_SECONDS = 10.0
# They write whole addresses, and those of uploads are signed.
_TALKATIVE = ("httpx2", "httpcore2", "huggingface_hub")
_lock = threading.Lock()
_bounds: list[float] = []  # the one in force; the library has one client for all


class _Bounded(httpx2.Client):
    """The library passes ``timeout=None``, which means for ever, where it has no opinion."""

    def build_request(self, *args: Any, **kwargs: Any) -> httpx2.Request:
        if kwargs.get("timeout", httpx2.USE_CLIENT_DEFAULT) is None:
            kwargs["timeout"] = httpx2.USE_CLIENT_DEFAULT
        return super().build_request(*args, **kwargs)


def bound(seconds: float) -> None:
    """From here on, no answer of the Hub is waited for longer than ``seconds``."""
    with _lock:
        if _bounds == [seconds]:
            return
        _bounds[:] = [seconds]
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.ERROR)
        disable_progress_bars()

    def make() -> httpx2.Client:
        return _Bounded(
            event_hooks={"request": [hf_request_event_hook]},
            follow_redirects=True,
            timeout=httpx2.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS)),
        )

    set_client_factory(make)
