"""How much labeled data is taken."""

from __future__ import annotations

from dataclasses import dataclass

MAX_LABEL_BYTES = 256


@dataclass(frozen=True)
class DataLimits:
    """``max_bytes`` of the source, unpacked; ``max_text_bytes`` of one text as UTF-8;
    ``max_labels`` that are different."""

    max_examples: int = 10_000_000
    max_labels: int = 10_000
    max_text_bytes: int = 1 << 20
    max_bytes: int = 4 << 30
