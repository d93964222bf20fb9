"""From a line or a record to a text that is kept: one line of UTF-8, of bounded length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# Some 4,000 tokens of English: more than nearly every teacher reads. Together with the number of
# texts in a shard it bounds the memory that a shard takes.
MAX_TEXT_BYTES = 16_384
MAX_TEXT_CHARS = MAX_TEXT_BYTES  # no fewer bytes have so many characters
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Cleaned:
    """``texts`` in their order, the ``blank`` ones left out; ``long`` tells which were cut."""

    texts: list[bytes]
    long: list[bool]
    blank: int


def clean(lines: Sequence[str]) -> Cleaned:
    """``lines`` as texts, none of which holds a line break.

    Control characters, tabs and carriage returns among them, become spaces, and spaces at either
    end go. A text of more than MAX_TEXT_BYTES ends on the last character that fits. Half a
    surrogate pair, which JSON can spell and UTF-8 cannot, becomes U+FFFD.

    A reader may hand over just the first MAX_TEXT_CHARS + 1 characters of a longer line.
    """
    if not lines:
        return Cleaned([], [], 0)
    # One too many characters is kept, so that a line that was cut is known for it.
    block = "\n".join([line[: MAX_TEXT_CHARS + 1] for line in lines])
    if _CONTROL.search(block):
        block = _CONTROL.sub(" ", block)
    if not block.isascii() and _SURROGATE.search(block):
        block = _SURROGATE.sub("\ufffd", block)
    texts: list[bytes] = []
    cut: list[bool] = []
    for line in block.split("\n"):
        long = len(line) > MAX_TEXT_CHARS
        text = (line[:MAX_TEXT_CHARS] if long else line).strip().encode("utf-8")
        if len(text) > MAX_TEXT_BYTES:
            text, long = _shortened(text), True
        if text:
            texts.append(text)
            cut.append(long)
    return Cleaned(texts, cut, len(lines) - len(texts))


def _shortened(text: bytes) -> bytes:
    whole = text[:MAX_TEXT_BYTES].decode("utf-8", "ignore")
    return whole.rstrip().encode("utf-8")
