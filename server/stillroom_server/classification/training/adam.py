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
        value, first, second = self.values[name], self.first[name], self.second[name]
        mean = first if rows is None else first.take(rows, axis=0)
        square = second if rows is None else second.take(rows, axis=0)
        part = slope * np.float32(1.0 - _BETA1)
        mean *= np.float32(_BETA1)
        mean += part
        np.multiply(slope, slope, out=part)
        part *= np.float32(1.0 - _BETA2)
        square *= np.float32(_BETA2)
        square += part
        np.sqrt(square, out=part)
        part *= np.float32(1.0 / math.sqrt(1.0 - _BETA2**self.steps))
        part += np.float32(_EPSILON)
        np.divide(mean, part, out=part)
        part *= np.float32(rate / (1.0 - _BETA1**self.steps))
        if rows is None:
            if decay:
                part += np.float32(rate * decay) * value
            value -= part
            return
        old = value.take(rows, axis=0)
        if decay:
            part += np.float32(rate * decay) * old
        old -= part
        first[rows], second[rows], value[rows] = mean, square, old
