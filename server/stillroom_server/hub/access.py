"""Which Hub is asked, and with whose right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True)
class HubAccess:
    """``endpoint`` None: the library's default. ``token_for`` gives the token that may be used for
    a repository ``owner/name``, if any. Both are the operator's, never a request's. No answer is
    waited for longer than ``timeout_seconds``."""

    endpoint: str | None = None
    token_for: Callable[[str], str | None] = lambda _: None
    timeout_seconds: float = TIMEOUT_SECONDS

    def api(self, repo: str) -> HfApi:
        """A client for calls about ``repo``; anonymous where no token may be used."""
        from huggingface_hub import HfApi

        from stillroom_server.hub.client import bound

        bound(self.timeout_seconds)
        token = self.token_for(repo)
        return HfApi(endpoint=self.endpoint, token=token or False, library_name="stillroom")
