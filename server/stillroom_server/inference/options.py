"""What a caller may ask of an embedding, checked against the model before any text is tokenized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from stillroom_registry.errors import InvalidArgument

MAX_PROMPT_CHARACTERS = 8192
"""A prompt is paid for once a text: a long one would turn a small request into a huge one."""


class ElementType(StrEnum):
    """The type of one element of an answered vector; see ``encoding`` for the layouts."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    BINARY = "binary"


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How to embed one request. None means the default that the field's comment gives."""

    truncate: bool = True  # False: a text over the limit is an error
    truncate_left: bool = False  # cut the beginning and keep the end
    max_tokens: int | None = None  # the model's own limit
    normalize: bool | None = None  # True
    dimensions: int | None = None  # all; else cut first, then normalize
    prompt: str | None = None  # put before every text
    prompt_name: str | None = None  # the name of one of the model's prompts
    element_type: ElementType = ElementType.FLOAT32


DEFAULT_OPTIONS = EmbedOptions()


class EmbedPlan(NamedTuple):
    """Options after they were checked against a model: nothing left to look up or to refuse."""

    truncate: bool
    truncate_left: bool
    max_tokens: int
    normalize: bool
    dimensions: int
    prompt: str


def plan(
    options: EmbedOptions, *, dimensions: int, max_tokens: int, prompts: Mapping[str, str]
) -> EmbedPlan:
    """Check ``options`` against a model of so many dimensions and tokens.

    Raises InvalidArgument naming the field: MAX_TOKENS_OUT_OF_RANGE, DIMENSIONS_OUT_OF_RANGE,
    PROMPT_NOT_FOUND, PROMPT_CONFLICT, PROMPT_TOO_LONG.
    """
    return EmbedPlan(
        truncate=options.truncate,
        truncate_left=options.truncate_left,
        max_tokens=_within("max_tokens", options.max_tokens, max_tokens),
        normalize=options.normalize is not False,
        dimensions=_within("dimensions", options.dimensions, dimensions),
        prompt=_prompt(options, prompts),
    )


def _within(field: str, value: int | None, limit: int) -> int:
    if value is None:
        return limit
    if 1 <= value <= limit:
        return value
    raise InvalidArgument(
        f"{field} is {value}; this model takes 1 to {limit}.",
        reason=f"{field.upper()}_OUT_OF_RANGE",
        field=f"options.{field}",
        metadata={"limit": str(limit), "value": str(value)},
    )


def _prompt(options: EmbedOptions, prompts: Mapping[str, str]) -> str:
    if options.prompt is None and options.prompt_name is None:
        return ""
    if options.prompt is not None and options.prompt_name is not None:
        raise InvalidArgument(
            "Both prompt and prompt_name are set; set one of them.",
            reason="PROMPT_CONFLICT",
            field="options.prompt_name",
        )
    if options.prompt_name is not None:
        if options.prompt_name not in prompts:
            known = ", ".join(sorted(prompts)) or "none"
            raise InvalidArgument(
                f"This model has no prompt {options.prompt_name!r}; it has: {known}.",
                reason="PROMPT_NOT_FOUND",
                field="options.prompt_name",
            )
        return prompts[options.prompt_name]
    prompt = options.prompt or ""
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise InvalidArgument(
            f"The prompt has {len(prompt)} characters; the limit is {MAX_PROMPT_CHARACTERS}.",
            reason="PROMPT_TOO_LONG",
            field="options.prompt",
        )
    return prompt
