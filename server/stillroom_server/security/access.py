"""Who is asking. Without a token file everybody may; with one, only who it names."""

from __future__ import annotations

import logging
from typing import Any

from stillroom_server.security.tokens import TokenFile, Tokens
from stillroom_server.settings import Settings

_log = logging.getLogger(__name__)


class Access:
    """Names the caller of an RPC from its metadata."""

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens

    @classmethod
    def from_settings(cls, settings: Settings) -> Access:
        """Reads the token file, if there is one to read."""
        if settings.token_file is None:
            return cls(None)
        tokens = TokenFile.load(settings.token_file)
        for warning in tokens.warnings:
            _log.warning("%s", warning)
        return cls(tokens)

    def __call__(self, context: Any) -> str:
        """The caller's name, empty without tokens. Raises Unauthenticated."""
        if self._tokens is None:
            return ""
        given: str | bytes | None = None
        for key, value in context.invocation_metadata() or ():
            if key == "authorization":
                given = value
        return self._tokens.identify(given)
