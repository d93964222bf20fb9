"""What a look at data found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SAMPLE_TEXTS = 512
SAMPLE_BYTES = 128 << 10
_CLIP = 4096  # characters of one text: its tokens a byte are told by less than all of it


@dataclass(frozen=True)
class Look:
    """``texts`` that count, ``text_bytes`` of them in UTF-8, ``source_bytes`` of where they are
    from, ``labels`` that differ (None: texts without labels). With ``whole``, all were seen; else
    they are what a part of them tells. ``sample``: some of the texts, perhaps cut."""

    texts: int
    text_bytes: int
    source_bytes: int
    sample: tuple[str, ...]
    whole: bool
    labels: int | None = None

    @property
    def bytes_per_text(self) -> float:
        """On average; 0 without texts."""
        return self.text_bytes / self.texts if self.texts else 0.0


def look(
    texts: Sequence[str],
    source_bytes: int,
    *,
    seen: float = 1.0,
    labels: Iterable[str] | None = None,
) -> Look:
    """Of ``texts``, which are the share ``seen`` of all, in (0, 1]."""
    factor = 1.0 / seen
    return Look(
        texts=round(len(texts) * factor),
        text_bytes=round(sum(len(text.encode("utf-8", "replace")) for text in texts) * factor),
        source_bytes=source_bytes,
        sample=_sample(texts),
        whole=seen >= 1.0,
        labels=None if labels is None else len(set(labels)),
    )


def _sample(texts: Sequence[str]) -> tuple[str, ...]:
    """Evenly chosen, so that an order by length or by label does not matter."""
    step = max(1, -(-len(texts) // SAMPLE_TEXTS))
    chosen = [text[:_CLIP] for text in texts[::step]]
    room = max(1, SAMPLE_BYTES // max(1, sum(map(len, chosen)) // max(1, len(chosen))))
    return tuple(chosen[:: max(1, -(-len(chosen) // room))])
