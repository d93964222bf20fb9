"""How good results are, as a share: priors from what docs/performance.md measured.

One teacher, English sentences: elsewhere they are rules of thumb, and so their basis is TABLE.
"""

from __future__ import annotations

from stillroom_server.cost.figures import Basis, Figure

_NOTE = "from students of all-MiniLM-L6-v2 on STS, Banking77 and TREC; other data differ"
_HALF_GAIN = 6_000.0  # texts of a corpus that give half of what one can give
_WIDTH = 1.92  # dimensions whose loss is half: of 256, 64 keep 97 to 98 %
_USUAL = 256.0
_INT8 = 0.999


def static(dimensions: float, element_type: str) -> Figure:
    """Of a static student, as a share of its teacher's."""
    return _figure(0.885 * _dimensions(dimensions) * _element(element_type), 0.89, 1.08)


def tuned(dimensions: float, element_type: str, texts: float) -> Figure:
    """Of a tuned one, which nears its best as the corpus grows."""
    share = 0.885 + (0.955 - 0.885) * texts / (texts + _HALF_GAIN)
    return _figure(share * _dimensions(dimensions) * _element(element_type), 0.9, 1.05)


def transformer(layers: int, of: int, narrowed: float, element_type: str) -> Figure:
    """Of a transformer with ``layers`` of so many, ``narrowed`` to a share of the width."""
    depth = 1.0 - 0.01 * (of / max(1, layers) - 1.0)
    width = 1.0 - 0.1 * (1.0 - narrowed)
    return _figure(max(0.3, depth * width) * _element(element_type), 0.95, 1.015)


def quantized(element_type: str, rows: float, clusters: float) -> Figure:
    """Of a student that was stored in fewer bytes, as a share of what it was."""
    shared = 1.0 if not clusters or clusters >= rows else max(0.5, (clusters / rows) ** 0.05)
    spread = (0.99, 1.002) if shared == 1.0 else (0.9, 1.03)
    return _figure(_element(element_type) * shared, *spread)


def trained(*, frozen: bool, chosen: bool, ngrams: bool | None) -> Figure:
    """Of a classifier, as a share of the best head's accuracy on the same encoder; ``chosen``:
    the server chose among the ways."""
    if chosen:
        return _figure(0.995, 0.97, 1.005)
    share = 0.95 if frozen else 0.985
    share += 0.01 if ngrams else 0.0
    return _figure(share, 0.93, min(1.05, 1.0 / share))


def _dimensions(dimensions: float) -> float:
    return (1.0 - _WIDTH / max(_WIDTH * 2, dimensions)) / (1.0 - _WIDTH / _USUAL)


def _element(element_type: str) -> float:
    return _INT8 if element_type == "int8" else 1.0


def _figure(value: float, low: float, high: float) -> Figure:
    return Figure.around(value, low, high, Basis.TABLE, _NOTE)
