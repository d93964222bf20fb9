"""Which Hub is asked, and with whose right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True)
class HubAccess:
    """``endpoint`` None: the library's default. ``token_for`` gives the token that may be used for
    a repository ``owner/name``, if any. Both are the operator's, never a request's."""

    endpoint: str | None = None
    token_for: Callable[[str], str | None] = lambda _: None

    def api(self, repo: str) -> HfApi:
        """A client for calls about ``repo``; anonymous where no token may be used."""
        from huggingface_hub import HfApi

        token = self.token_for(repo)
        return HfApi(endpoint=self.endpoint, token=token or False, library_name="stillroom")
