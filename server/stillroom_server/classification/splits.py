"""Which examples are kept for validation: a part that is held out, or folds.

A split depends on the targets and the seed alone. With one label a text, each label's examples are
shuffled and dealt out in proportion; with several, by iterative stratification (Sechidis, Tsoumakas
and Vlahavas, "On the Stratification of Multi-Label Data", 2011): the rarest label first, each of
its examples to the part that lacks it most. A label with one example stays in training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import InvalidArgument
from stillroom_server.classification.stratification import deal, iterative

Int64: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

MAX_HELD_OUT = 0.5
MIN_FOLDS, MAX_FOLDS = 2, 20
_SCHEMES = ("held_out", "folds")
# The server's choice. Enough to hold out is what a temperature and an early stop need; below that,
# what is held out would be missed more than the time that folds take.
_FOLDS = 5
_FEWEST_EXAMPLES = 2000
_FEWEST_A_LABEL = 20
_SHARE, _MOST_SHARE = 0.1, 0.2
_ENOUGH, _MOST = 500, 10_000


@dataclass(frozen=True)
class Holdout:
    """Ascending rows, int64, of the examples to train on and of those to validate on; together
    all."""

    train: Int64
    validation: Int64


@dataclass(frozen=True)
class Folds:
    """``folds``: ascending rows, int64, of each fold. Each is measured by a model of all other rows
    (``train``). Rows that are in none, such as the only one of a label, are always trained on."""

    folds: tuple[Int64, ...]
    count: int
    """Rows in all."""

    def train(self, number: int) -> Int64:
        """Ascending rows to train on for the fold ``number``."""
        outside = np.ones(self.count, dtype=np.bool_)
        outside[self.folds[number]] = False
        return np.flatnonzero(outside)


Split: TypeAlias = Holdout | Folds


def check_scheme(scheme: object, field: str = "validation_split") -> None:
    """Raises InvalidArgument for a ValidationSplit (JSON) that no data could follow."""
    if scheme is None:
        return
    if not isinstance(scheme, Mapping):
        raise InvalidArgument("the split is not an object", field=field)
    for name in scheme:
        if name not in (*_SCHEMES, "unstratified"):
            raise InvalidArgument(f"a split has no {str(name)[:80]!r}", field=field)
    if all(scheme.get(name) is not None for name in _SCHEMES):
        raise InvalidArgument(
            "either a share is held out or there are folds", field=f"{field}.folds"
        )
    share, folds = (scheme.get(name) for name in _SCHEMES)
    if share is not None and not (
        _is_number(share) and math.isfinite(share) and 0 < share <= MAX_HELD_OUT
    ):
        raise InvalidArgument(f"{share!r} is not in (0, {MAX_HELD_OUT}]", field=f"{field}.held_out")
    if folds is not None and not (isinstance(folds, int) and MIN_FOLDS <= folds <= MAX_FOLDS):
        raise InvalidArgument(
            f"{folds!r} is not {MIN_FOLDS} to {MAX_FOLDS}", field=f"{field}.folds"
        )
    if not isinstance(scheme.get("unstratified", False), bool):
        raise InvalidArgument("it is neither true nor false", field=f"{field}.unstratified")


def split(
    targets: Int64 | Bools,
    scheme: Mapping[str, Any] | None,
    seed: int,
    *,
    field: str = "validation_split",
) -> Split:
    """How the examples with ``targets`` (int64 (n,) indices of labels, none negative, or bool
    (n, K)) are split as ``scheme`` (a ValidationSplit in JSON; None or empty: the server's choice)
    says.

    The choice: with fewer than 2,000 examples, or fewer than 20 a label on average, 5 folds; else a
    tenth is held out, at least 500 examples as far as that is no more than a fifth, and at most
    10,000. However it is split without ``unstratified``, every label has an example in each
    training.

    Raises what ``check_scheme`` raises, and InvalidArgument: TOO_FEW_EXAMPLES when there are fewer
    than folds, or when every label has a single example.
    """
    check_scheme(scheme, field)
    scheme = scheme or {}
    share, folds = (scheme.get(name) for name in _SCHEMES)
    automatic = share is None and folds is None
    if automatic:
        share, folds = _choose(targets)
    rng = np.random.default_rng(seed)
    parts = MIN_FOLDS if folds is None else int(folds)
    if scheme.get("unstratified"):
        rows = rng.permutation(len(targets))
        given = _without_regard(rows, share, parts)
    else:
        given = _stratified(targets, share, parts, rng)
    if share is not None:
        return _holdout(given, field)
    return _folds(given, parts, field, automatic=automatic)


def _choose(targets: Int64 | Bools) -> tuple[float | None, int | None]:
    """(share held out, folds), one of them."""
    count = len(targets)
    labels = targets.shape[1] if targets.ndim == 2 else int(targets.max(initial=-1)) + 1
    given = int(np.count_nonzero(targets)) if targets.ndim == 2 else count
    if count < _FEWEST_EXAMPLES or given < _FEWEST_A_LABEL * labels:
        return None, _FOLDS
    wanted = max(_SHARE * count, min(_ENOUGH, _MOST_SHARE * count))
    return min(wanted, _MOST) / count, None


def _without_regard(rows: Int64, share: float | None, parts: int) -> Int64:
    """int64 (n,): the part of each row, -1 for training alone; ``rows`` are in random order."""
    given = np.full(len(rows), -1, dtype=np.int64)
    if share is None:
        given[rows] = np.arange(len(rows)) % parts
    else:
        given[rows[: min(max(1, round(share * len(rows))), len(rows) - 1)]] = 0
    return given


def _stratified(
    targets: Int64 | Bools, share: float | None, parts: int, rng: np.random.Generator
) -> Int64:
    """As ``_without_regard``."""
    if targets.ndim == 1:
        return deal(targets.astype(np.int64), share, parts, rng)
    shares = [1 / parts] * parts if share is None else [share, 1 - share]
    given = iterative(targets.astype(np.bool_), shares, rng, keep_last=share is not None)
    if share is not None:
        given[given == 1] = -1
    return given


def _holdout(given: Int64, field: str) -> Holdout:
    validation = np.flatnonzero(given == 0)
    if not len(validation):
        raise _too_few("no example can be held out, as every label has a single one", field)
    return Holdout(np.flatnonzero(given != 0), validation)


def _folds(given: Int64, parts: int, field: str, *, automatic: bool) -> Folds:
    folds = tuple(np.flatnonzero(given == part) for part in range(parts))
    filled = tuple(fold for fold in folds if len(fold))
    if not filled:
        raise _too_few("nothing can be validated, as every label has a single example", field)
    if len(filled) < len(folds) and not automatic:
        usable = sum(map(len, filled))
        raise _too_few(
            f"{usable} examples can be validated, too few for {parts} folds", f"{field}.folds"
        )
    return Folds(filled, len(given))


def _too_few(why: str, field: str) -> InvalidArgument:
    return InvalidArgument(
        f"{why}; give more examples, or validation_data", reason="TOO_FEW_EXAMPLES", field=field
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
