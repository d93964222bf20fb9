"""Errors about single texts of a request; who is to blame is looked for only on failure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stillroom_registry.errors import Internal, InvalidArgument


def refuse_too_long(offsets: npt.NDArray[np.int64], max_tokens: int) -> None:
    """Raise InvalidArgument for the first text of more than ``max_tokens`` tokens, if any."""
    lengths = offsets[1:] - offsets[:-1]
    over = np.flatnonzero(lengths > max_tokens)
    if not len(over):
        return
    index, tokens = int(over[0]), int(lengths[over[0]])
    others = f" ({len(over) - 1} more texts are too long, too)" if len(over) > 1 else ""
    raise InvalidArgument(
        f"texts[{index}] has {tokens} tokens, the limit is {max_tokens}{others}; "
        "shorten it or set truncate.",
        reason="TEXT_TOO_LONG",
        field=f"texts[{index}]",
        metadata={"tokens": str(tokens), "limit": str(max_tokens)},
    )


def encoding_error(texts: Sequence[str], failure: BaseException) -> BaseException:
    """What to raise when a tokenizer failed on ``texts`` with ``failure``.

    A text that is no str or not UTF-8 is the caller's fault and named; anything else that a
    tokenizer raises is ours, panics of compiled code included, which are no Exceptions. Interrupts
    and cancellations pass unchanged.
    """
    if not isinstance(failure, Exception) and type(failure).__name__ != "PanicException":
        return failure
    for index, text in enumerate(texts):
        problem = _problem(text)
        if problem:
            return InvalidArgument(
                f"texts[{index}] {problem}.", reason="INVALID_UTF8", field=f"texts[{index}]"
            )
    return Internal(f"The tokenizer failed: {failure!r}.", reason="TOKENIZER_FAILED")


def _problem(text: object) -> str | None:
    if not isinstance(text, str):
        return f"is a {type(text).__name__}, not a string"
    try:
        text.encode()
    except UnicodeEncodeError as failure:
        return f"holds a lone surrogate at character {failure.start}"
    return None
