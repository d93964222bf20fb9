"""Names of models, versions and aliases, and the short forms that people write.

    models/{model}                      name
    models/{model}/versions/{version}   name@3
    models/{model}/aliases/{alias}      name@production

Names are lower-case ASCII, so no two of them look alike; an alias begins with a letter, so none
looks like a version.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stillroom_registry.errors import InvalidArgument

_MODEL = r"[a-z0-9](?:[a-z0-9._-]{0,126}[a-z0-9])?"
_ALIAS = r"[a-z][a-z0-9-]{0,62}"
_VERSION = r"[1-9][0-9]{0,17}"
_MODEL_NAME = re.compile(_MODEL, re.ASCII)
_ALIAS_NAME = re.compile(_ALIAS, re.ASCII)
_SHORT = re.compile(rf"({_MODEL})(?:@(?:({_VERSION})|({_ALIAS})))?", re.ASCII)
_FULL = re.compile(rf"models/({_MODEL})(?:/versions/({_VERSION})|/aliases/({_ALIAS}))?", re.ASCII)
_MAX_LENGTH = 256
DEFAULT_ALIAS = "default"


def check_model_name(name: str, field: str = "model") -> str:
    """The name, or InvalidArgument (reason BAD_MODEL_NAME)."""
    if len(name) <= _MAX_LENGTH and _MODEL_NAME.fullmatch(name):
        return name
    raise InvalidArgument(
        f"{shown(name)} is no model name: use 1 to 128 of a-z, 0-9, '.', '_' and '-', with a "
        "letter or a digit at both ends.",
        reason="BAD_MODEL_NAME",
        field=field,
    )


def check_alias_name(alias: str, field: str = "alias") -> str:
    """The alias, or InvalidArgument (reason BAD_ALIAS_NAME)."""
    if len(alias) <= _MAX_LENGTH and _ALIAS_NAME.fullmatch(alias):
        return alias
    raise InvalidArgument(
        f"{shown(alias)} is no alias: use 1 to 63 of a-z, 0-9 and '-', beginning with a letter.",
        reason="BAD_ALIAS_NAME",
        field=field,
    )


def version_name(model: str, version: int) -> str:
    return f"models/{model}/versions/{version}"


def shown(text: str, limit: int = 80) -> str:
    """Text from outside, quoted, in ASCII and cut, fit for a message or a log line."""
    return ascii(text if len(text) <= limit else text[:limit] + "...")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """What a caller asked for: a model and at most one of a version and an alias."""

    model: str
    version: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str, field: str = "model") -> ModelRef:
        """Read a short or a full name; InvalidArgument (reason BAD_MODEL_NAME) on anything else."""
        match = None
        if len(text) <= _MAX_LENGTH:
            match = _FULL.fullmatch(text) or _SHORT.fullmatch(text)
        if match is None:
            raise InvalidArgument(
                f"{shown(text)} names no model: write name, name@3, name@production, models/name, "
                "models/name/versions/3 or models/name/aliases/production; a name has 1 to 128 of "
                "a-z, 0-9, '.', '_' and '-'.",
                reason="BAD_MODEL_NAME",
                field=field,
            )
        model, version, alias = match.groups()
        return cls(model, int(version) if version else None, alias)

    def __str__(self) -> str:
        if self.version is not None:
            return version_name(self.model, self.version)
        if self.alias is not None:
            return f"models/{self.model}/aliases/{self.alias}"
        return f"models/{self.model}"
