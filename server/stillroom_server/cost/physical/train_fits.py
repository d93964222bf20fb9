"""The fits of a training: which there are, and what each takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np

from stillroom_server.classification.option_parts import GRADIENT, LBFGS, TABLE, MlpHead
from stillroom_server.classification.options import ClassifierOptions
from stillroom_server.cost.assumptions import Assumption, Source
from stillroom_server.cost.facts import ModelFacts
from stillroom_server.cost.figures import Figure
from stillroom_server.cost.physical.place import Place

SETTLED = 0.7  # of the epochs that a training may have, those it has before it gains no more
_EPOCHS_RANGE = (0.5, 1.45)
_FOLDED = 0.4
_LBFGS_TURNS = 34.0  # products with all texts, two an iteration
_DISTINCT = 0.25  # of the n-grams that occur
_RUNS_A_TOKEN = 1.0  # n-grams of two
_FOLDS, _FEWEST, _FEWEST_A_LABEL = 5, 2000.0, 20.0  # as ``classification.splits`` chooses
_TURNS = (4096.0, 100_000.0, 111_112.0, 1_000_000.0, 1_111_112.0)
_SHARE, _ENOUGH, _MOST_SHARE, _MOST = 0.1, 500.0, 0.2, 10_000.0


@dataclass(frozen=True)
class Examples:
    """``texts`` to train on, of ``tokens`` each, in ``size`` bytes of a source; ``judged`` texts of
    validation data of their own, if there are any (``own``)."""

    texts: float
    labels: float
    tokens: float
    size: float
    own: bool = False
    judged: float = 0.0

    @property
    def all(self) -> float:
        return self.texts + self.judged

    def fewer(self) -> list[Examples]:
        """Fewer texts, each just below a number from which on the training goes about it in
        another way, which may take less."""
        found = [turn - 1.0 for turn in self._turns if 1.0 < turn - 1.0 < self.texts]
        return [replace(self, texts=texts) for texts in found]

    def more(self) -> list[Examples]:
        """More texts, each at one of these numbers."""
        return [replace(self, texts=turn) for turn in self._turns if turn > self.texts]

    @property
    def _turns(self) -> list[float]:
        return [_FEWEST, _FEWEST_A_LABEL * self.labels, *_TURNS]


@dataclass(frozen=True)
class Fit:
    """One candidate. ``epochs`` 0: no gradient steps; ``solver`` of a linear head; ``hidden``:
    widths; ``table``: whether the encoder's is trained; ``features``: n-grams with a row."""

    solver: str
    epochs: int
    batch: int
    hidden: tuple[int, ...]
    table: bool
    features: float


@dataclass(frozen=True)
class Plan:
    """Each of ``tried`` is fitted ``parts`` times to ``share`` of the texts; ``everything``: the
    best once more to all. ``judged`` texts are measured."""

    tried: tuple[Fit, ...]
    parts: int
    share: float
    judged: float
    everything: bool
    assumptions: tuple[Assumption, ...]

    @property
    def times(self) -> float:
        """How often all texts are gone through, for one."""
        return self.parts * self.share


@dataclass(frozen=True)
class Took:
    """Of one fit to all texts."""

    cpu: Figure
    flops: float
    traffic: float


def plan(
    options: ClassifierOptions,
    encoder: ModelFacts,
    examples: Examples,
    scheme: Mapping[str, Any],
) -> Plan:
    """As ``classification.training`` would go about it."""
    # Imported here: it is the one part of the training that estimates ask.
    from stillroom_server.classification.training.candidates import Circumstances, candidates

    folds, share, judged = _split(examples, scheme)
    facts = Circumstances(max(1, round(examples.texts * share)), round(examples.labels), folds > 1)
    own = encoder.computing
    tried = candidates(options, _stand_in(own), facts)
    fits = tuple(_fit(each, examples) for each in tried)
    told = [Assumption("candidates", f"{len(fits)}", Source.DEFAULT, "ways that are tried")]
    if folds > 1:
        told.append(Assumption("folds", f"{folds}", Source.DEFAULT, "for want of examples"))
    return Plan(fits, folds, share, judged, folds > 1, tuple(told))


def cost(place: Place, fit: Fit, own: ModelFacts, examples: Examples) -> Took:
    """Of fitting it to all texts once."""
    speeds, texts = place.speeds, examples.texts
    width = float(own.dimensions)
    runs = examples.tokens * _RUNS_A_TOKEN if fit.features else 0.0
    weights = _weights(fit, width, examples.labels)
    # Forward, and twice as much backward.
    product = 6.0 * texts * weights
    entries = texts * runs * examples.labels * 2.0
    if fit.table:
        entries += texts * examples.tokens * own.hidden * 3.0
    if fit.epochs:
        epochs = Figure.around(
            fit.epochs * SETTLED, *_EPOCHS_RANGE, speeds.overhead("gradient.batch").basis
        )
        batches = max(1.0, texts / fit.batch)
        moved = batches * (weights + min(fit.features, fit.batch * runs) * examples.labels) * 8.0
        one = speeds.overhead("gradient.batch", batches).plus(
            speeds.overhead("solver.product", product / 1e9),
            speeds.overhead("gradient.entry", entries + moved),
        )
        turns = fit.epochs * SETTLED
        flops = turns * (product + 2.0 * entries)
        return Took(one.times(epochs), flops, turns * 8.0 * (entries + moved))
    if fit.solver == LBFGS:
        one = speeds.overhead("solver.product", product / 1e9).plus(
            speeds.overhead("gradient.entry", entries + texts * examples.labels * 4.0)
        )
        return Took(
            one.times(Figure.around(_LBFGS_TURNS, 0.6, 1.6, one.basis)),
            _LBFGS_TURNS * (product + 2.0 * entries),
            _LBFGS_TURNS * 4.0 * (texts * width + entries),
        )
    features = width + 1.0 + fit.features
    flops = texts * features * (2.0 * features + 4.0 * examples.labels) + features**3
    by_texts = texts * texts * (2.0 * features + 4.0 * examples.labels) + texts**3
    flops = min(flops, by_texts) if texts <= 4096 else flops
    cpu = speeds.overhead("solver.product", 2.0 * flops / 1e9)
    return Took(cpu, flops, 16.0 * texts * width)


def whole(place: Place, fits: Plan, own: ModelFacts, examples: Examples) -> Took:
    """Of all fits."""
    each = [cost(place, fit, own, examples) for fit in fits.tried]
    cpu = each[0].cpu.plus(*(took.cpu for took in each[1:])).scaled(fits.times)
    cpu = cpu.plus(place.speeds.overhead("solver.start", float(len(each) * fits.parts)))
    if fits.parts > 1 and any(fit.epochs for fit in fits.tried):
        # Folds of gradient steps: more examples are not folded, and take less than these. No
        # estimate may fall where there are more, so both are said to take about as much.
        cpu = cpu.times(Figure.around(_FOLDED, 0.7, 2.2, cpu.basis))
    flops = sum(took.flops for took in each) * fits.times
    traffic = sum(took.traffic for took in each) * fits.times
    if fits.everything:
        # The best of them, which may be any.
        most = max(each, key=lambda took: took.cpu.p50 or 0.0)
        cpu = cpu.plus(most.cpu.times(Figure.around(0.7, 0.3, 1.4, most.cpu.basis)))
        flops, traffic = flops + most.flops, traffic + most.traffic
    return Took(cpu, flops, traffic)


def head_bytes(fit: Fit, dimensions: float, examples: Examples) -> float:
    """Of a head and its n-gram rows, in float32."""
    rows = fit.features * (examples.labels + 2.0)
    return 4.0 * (_weights(fit, float(dimensions), examples.labels) + examples.labels + rows)


def title(options: ClassifierOptions, fits: Plan) -> str:
    """For people."""
    if options.head is None:
        return f"best of {len(fits.tried)} heads"
    first = fits.tried[0]
    name = f"mlp {'x'.join(map(str, first.hidden))}" if first.hidden else f"linear {first.solver}"
    return f"{name}, {'table tuned' if first.table else 'encoder frozen'}"


def _weights(fit: Fit, dimensions: float, labels: float) -> float:
    widths = [dimensions, *map(float, fit.hidden), labels]
    return sum(a * b for a, b in pairwise(widths))


def _fit(options: ClassifierOptions, examples: Examples) -> Fit:
    head = options.head
    hidden = head.hidden_sizes if isinstance(head, MlpHead) else ()
    steps = bool(hidden) or options.solver == GRADIENT
    features = 0.0
    if options.ngrams.on:
        most = float(options.ngrams.max_features or 0)
        features = min(most, examples.texts * examples.tokens * _DISTINCT)
    return Fit(
        solver=options.solver or GRADIENT,
        epochs=(options.max_epochs or 1) if steps else 0,
        batch=options.optimizer.batch_size or 128,
        hidden=hidden,
        table=options.tuning.mode == TABLE,
        features=features,
    )


def _split(examples: Examples, scheme: Mapping[str, Any]) -> tuple[int, float, float]:
    """(fits of a candidate, share of the texts in each, texts that are judged)."""
    count = examples.texts
    if examples.own:
        return 1, 1.0, examples.judged
    share, folds = scheme.get("held_out"), scheme.get("folds")
    if share is None and not folds:
        if count < _FEWEST or count < _FEWEST_A_LABEL * examples.labels:
            folds = _FOLDS
        else:
            share = min(max(_SHARE * count, min(_ENOUGH, _MOST_SHARE * count)), _MOST) / count
            # Folds judge all texts: no fewer are counted where there are more.
            judged = max(share * count, min(count, max(_FEWEST, _FEWEST_A_LABEL * examples.labels)))
            return 1, 1.0 - share, judged
    if folds:
        return int(folds), 1.0 - 1.0 / int(folds), count
    kept = float(share or _SHARE)
    return 1, 1.0 - kept, kept * count


def _stand_in(own: ModelFacts) -> Any:
    """An encoder as far as candidates look at it."""
    table = None
    if own.is_table:
        row = np.full((1, 1), 1.0, dtype=np.float32)
        table = SimpleNamespace(rows=row, element_type=own.element_type)
    return SimpleNamespace(
        table=table, dimensions=own.dimensions, max_tokens=own.max_tokens or None
    )
