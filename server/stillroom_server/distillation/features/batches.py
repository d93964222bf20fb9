"""Which rows of tokens go through a teacher together: a function of their lengths alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# A forward pass on one core takes some 2 x weights x tokens operations. This many keep the core
# busy and end within a second or so: nobody can stop a pass.
_CPU_WEIGHT_TOKENS = 20_000_000_000
_CPU_TOKENS = (256, 2048)
_CUDA_TOKENS = 65_536
TOKENIZED_AT_ONCE = 1 << 19  # bytes of text


def batch_tokens(layers: int, width: int, device: str) -> int:
    """How many tokens, padding included, a batch may have for a transformer of ``layers`` layers
    of ``width``, which has 12 x layers x width^2 weights or so."""
    if device != "cpu":
        return _CUDA_TOKENS
    least, most = _CPU_TOKENS
    return max(least, min(most, _CPU_WEIGHT_TOKENS // max(1, 12 * layers * width**2)))


def plan(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """The places of all rows, in batches of rows of like lengths, the longest first."""
    order = sorted(range(len(lengths)), key=lambda at: (-lengths[at], at))
    batches: list[list[int]] = []
    while order:
        count = max(1, tokens // max(1, lengths[order[0]]))
        batches.append(order[:count])
        order = order[count:]
    return batches


def pieces(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """``texts`` in their order, some at a time: tokenizing, too, must end soon."""
    start = size = 0
    for at, text in enumerate(texts):
        if size > TOKENIZED_AT_ONCE:
            yield texts[start:at]
            start, size = at, 0
        size += len(text.encode())
    if start < len(texts):
        yield texts[start:]
