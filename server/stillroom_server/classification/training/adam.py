"""AdamW (Loshchilov and Hutter, arXiv 1711.05101), for whole arrays and for touched rows alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.inference.engines.base import Float32

_BETA1 = 0.9
_BETA2 = 0.99
_EPSILON = 1e-8


class Adam:
    """The moments of ``values``, arrays by name, which are changed in place."""

    def __init__(self, values: dict[str, Float32]) -> None:
        self.values = values
        self.first = {name: np.zeros_like(value) for name, value in values.items()}
        self.second = {name: np.zeros_like(value) for name, value in values.items()}
        self.steps = 0

    def begin(self) -> None:
        """Before the arrays of a step."""
        self.steps += 1

    def move(
        self,
        name: str,
        slope: Float32,
        rate: float,
        *,
        rows: NDArray[Any] | None = None,
        decay: float = 0.0,
    ) -> None:
        """One step of an array, or of its ``rows`` (k,), each once, with ``slope`` (k, ...). The
        moments of rows move only with them: a rare token is not pushed on by texts without it."""
        place: Any = slice(None) if rows is None else rows
        mean = self.first[name][place] * np.float32(_BETA1)
        mean += np.float32(1.0 - _BETA1) * slope
        square = self.second[name][place] * np.float32(_BETA2)
        square += np.float32(1.0 - _BETA2) * (slope * slope)
        self.first[name][place] = mean
        self.second[name][place] = square
        np.sqrt(square, out=square)
        square *= np.float32(1.0 / math.sqrt(1.0 - _BETA2**self.steps))
        square += np.float32(_EPSILON)
        mean *= np.float32(rate / (1.0 - _BETA1**self.steps))
        mean /= square
        if decay:
            mean += np.float32(rate * decay) * self.values[name][place]
        self.values[name][place] -= mean
