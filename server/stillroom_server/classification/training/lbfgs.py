"""Limited-memory BFGS (Nocedal and Wright, 2006, algorithm 7.5) in float32.

scipy's works in float64 on vectors several times as large as n-gram features need; a loss of
training texts is not known to more digits than float32 has.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from stillroom_registry.errors import Internal
from stillroom_server.inference.engines.base import Float32

_MEMORY = 8
_SUFFICIENT = 1e-4
_MOST_HALVINGS = 20
_MOST_DOUBLINGS = 30
_QUIET = 3  # iterations that gain next to nothing, after which it has converged

Objective: TypeAlias = Callable[[Float32], tuple[float, Float32]]


@dataclass(frozen=True)
class Minimum:
    """``converged`` is false where ``stop`` or the number of iterations ended it."""

    theta: Float32
    value: float
    iterations: int
    converged: bool


def minimize(
    objective: Objective,
    start: Float32,
    *,
    precondition: Callable[[Float32], Float32] | None = None,
    iterations: int = 300,
    tolerance: float = 3e-4,
    stop: Callable[[], bool] = lambda: False,
) -> Minimum:
    """The least value of a convex function from ``start`` (p,) on, which is left as it is.

    ``precondition`` multiplies by what is near the inverse of the second derivative, up to a
    factor. ``tolerance``: a relative gain of an iteration that is next to nothing. ``stop`` is
    asked after each iteration. Raises Internal (LOSS_NOT_FINITE).
    """
    theta = start.astype(np.float32)
    value, slope = objective(theta)
    check_finite(value)
    pairs: deque[tuple[Float32, Float32, float]] = deque(maxlen=_MEMORY)
    quiet = 0
    for iteration in range(iterations):
        if not slope.any() or quiet >= _QUIET:
            return Minimum(theta, value, iteration, converged=True)
        if iteration and stop():
            return Minimum(theta, value, iteration, converged=False)
        direction = _direction(slope, pairs, precondition or _plain)
        found = _search(objective, theta, value, slope, direction, first=not pairs)
        if found is None:
            if not pairs:
                return Minimum(theta, value, iteration, converged=True)
            pairs.clear()  # once more, straight down
            quiet += 1
            continue
        new_theta, new_value, new_slope = found
        step, change = new_theta - theta, new_slope - slope
        curvature = float(np.dot(step, change))
        if curvature > 1e-10 * float(np.dot(change, change)):
            pairs.append((step, change, 1.0 / curvature))
        gain = (value - new_value) / max(abs(value), abs(new_value), 1e-12)
        quiet = quiet + 1 if gain < tolerance else 0
        theta, value, slope = new_theta, new_value, new_slope
    return Minimum(theta, value, iterations, converged=False)


def check_finite(loss: float) -> None:
    """Raises Internal (LOSS_NOT_FINITE)."""
    if not math.isfinite(loss):
        raise Internal(
            f"the loss of the training is {loss}; lower the learning rates or the class weights, or"
            " check the encoder",
            reason="LOSS_NOT_FINITE",
        )


def _plain(direction: Float32) -> Float32:
    return direction


def _direction(
    slope: Float32,
    pairs: deque[tuple[Float32, Float32, float]],
    precondition: Callable[[Float32], Float32],
) -> Float32:
    direction = slope.copy()
    kept: list[float] = []
    for step, change, inverse in reversed(pairs):
        share = inverse * float(np.dot(step, direction))
        direction -= np.float32(share) * change
        kept.append(share)
    direction = precondition(direction)
    if pairs:
        step, change, inverse = pairs[-1]
        direction *= np.float32(1.0 / (inverse * float(np.dot(change, precondition(change)))))
    for (step, change, inverse), share in zip(pairs, reversed(kept), strict=True):
        direction += np.float32(share - inverse * float(np.dot(change, direction))) * step
    np.negative(direction, out=direction)
    return direction


def _search(
    objective: Objective,
    theta: Float32,
    value: float,
    slope: Float32,
    direction: Float32,
    *,
    first: bool,
) -> tuple[Float32, float, Float32] | None:
    """A step that gains enough: halved until it does; without memory, doubled while it gains."""
    descent = float(np.dot(slope, direction))
    if descent >= 0.0:
        return None
    size = 1.0 / math.sqrt(-descent) if first else 1.0
    for _ in range(_MOST_HALVINGS):
        trial = theta + np.float32(size) * direction
        found, found_slope = objective(trial)
        if math.isfinite(found) and found <= value + _SUFFICIENT * size * descent:
            break
        size *= 0.5
    else:
        check_finite(found)
        return None
    best = (trial, found, found_slope)
    if first:
        for _ in range(_MOST_DOUBLINGS):
            size *= 2.0
            trial = theta + np.float32(size) * direction
            found, found_slope = objective(trial)
            if not math.isfinite(found) or found >= best[1]:
                break
            best = (trial, found, found_slope)
    return best
