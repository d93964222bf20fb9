"""Gradient training of a table, from checkpoint to checkpoint, until it gains no more."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.tuning.batches import generator, portions, steps_of
from stillroom_server.distillation.tuning.objective import Objective
from stillroom_server.distillation.tuning.protocols import Checkpoints, Context
from stillroom_server.distillation.tuning.rows_adam import RowsAdam
from stillroom_server.distillation.tuning.state import TrainingState
from stillroom_server.distillation.tuning.targets import project
from stillroom_server.distillation.tuning.threads import Sparse, sparse_times

RATE = 1e-3
DROPOUT = 0.05
PATIENCE = 2
"""Epochs without gain after which training ends."""
_WARM = 20  # steps in which the rate rises
_SAVE_SECONDS = 8.0
_JUDGED_AT_ONCE = 512

Texts = tuple[Sparse, NDArray[np.float32]]
"""Bags (n, rows) and the teacher's vectors (n, h) of the same texts."""


@dataclass(frozen=True)
class Material:
    """``load`` gives the texts of a training shard, of which there are ``counts``; ``judge`` are
    those held out. ``axes`` (h, d) make targets of teacher vectors."""

    counts: Sequence[int]
    load: Callable[[int], Texts]
    judge: Texts
    axes: NDArray[np.float32]


def held_out_loss(table: NDArray[np.float32], material: Material, objective: Objective) -> float:
    """The mean loss of the held out texts, which are compared within groups of some 512."""
    bags, teacher = material.judge
    texts = bags.shape[0]
    groups = np.array_split(np.arange(texts), max(1, round(texts / _JUDGED_AT_ONCE)))
    total = 0.0
    for group in groups:
        part = slice(int(group[0]), int(group[-1]) + 1)
        block = np.ascontiguousarray(teacher[part])
        sums = sparse_times(bags[part], table)
        total += len(group) * objective.value(sums, project(block, material.axes), block)
    return float(total / texts)


class Trainer:
    """Trains ``start`` (rows, d) for ``epochs`` at most, or ``budget`` seconds (None: no limit).

    All but the budget is a function of the arguments: neither threads, nor when checkpoints are
    made, nor how often it is interrupted change a bit. ``key`` says of what work checkpoints are.
    """

    def __init__(
        self,
        material: Material,
        objective: Objective,
        *,
        epochs: int,
        seed: int,
        budget: float | None,
        key: str,
        checkpoints: Checkpoints,
        context: Context,
        clock: Callable[[], float],
    ) -> None:
        self._material = material
        self._objective = objective
        self._epochs = epochs
        self._seed = seed
        self._budget = budget
        self._key = key
        self._checkpoints = checkpoints
        self._context = context
        self._clock = clock
        width = material.axes.shape[0]
        self._steps = [steps_of(material.counts, width, seed, epoch) for epoch in range(epochs)]

    def run(self, start: Callable[[], NDArray[np.float32]]) -> TrainingState:
        """From the newest checkpoint of this work, else from ``start``. The state's ``best`` is the
        result; ``stopped`` says why it ended: epochs, patience, budget or diverged (a loss that is
        no number: what was best before it is kept)."""
        state = self._resumed() or self._fresh(start())
        began, saved = self._clock() - state.seconds, self._clock()
        while not state.stopped:
            saved = self._epoch(state, began, saved)
        self._tell(state)
        return state

    def _resumed(self) -> TrainingState | None:
        found = self._checkpoints.latest()
        return None if found is None else TrainingState.read(found[1], self._key)

    def _fresh(self, table: NDArray[np.float32]) -> TrainingState:
        loss = held_out_loss(table, self._material, self._objective)
        history = [{"epoch": 0, "training_loss": None, "held_out_loss": loss}]
        return TrainingState(RowsAdam(table.copy()), table, loss, history=history)

    def _epoch(self, state: TrainingState, began: float, saved: float) -> float:
        """What is left of one; returns when the last checkpoint was made."""
        width = self._material.axes.shape[0]
        position = 0
        for portion in portions(self._material.counts, width, self._seed, state.epoch):
            if position + len(portion.batches) <= state.batch:
                position += len(portion.batches)
                continue
            bags, teacher = self._loaded(portion.shards)
            for batch in portion.batches:
                if position < state.batch:
                    position += 1
                    continue
                self._tell(state)
                order = np.sort(batch)  # rows near one another in memory
                loss = self._step(state, bags[order], teacher[order])
                position += 1
                state.batch = position
                state.loss_sum += loss
                state.seconds = self._clock() - began
                if not math.isfinite(loss):
                    state.stopped = "diverged"
                elif self._budget is not None and state.seconds >= self._budget:
                    self._judge(state)
                    state.stopped = "budget"
                if state.stopped:
                    return saved
                ended = position == self._steps[state.epoch]
                if not ended and self._clock() - saved >= _SAVE_SECONDS:
                    self._save(state)
                    saved = self._clock()
        self._judge(state)
        state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0
        if not state.stopped and state.epoch >= self._epochs:
            state.stopped = "epochs"
        if state.stopped or self._clock() - saved >= _SAVE_SECONDS:
            self._save(state)
            saved = self._clock()
        return saved

    def _loaded(self, shards: Sequence[int]) -> Texts:
        from scipy import sparse

        bags, vectors = [], []
        for shard in shards:
            self._context.check_cancelled()
            matrix, teacher = self._material.load(shard)
            bags.append(matrix)
            vectors.append(teacher)
        return sparse.vstack(bags, format="csr"), np.concatenate(vectors)

    def _step(self, state: TrainingState, bags: Sparse, teacher: NDArray[np.float32]) -> float:
        from scipy import sparse

        random = generator(self._seed, state.epoch, state.batch)
        kept = bags.data * (random.random(bags.nnz, dtype=np.float32) >= DROPOUT)
        rows, places = np.unique(bags.indices, return_inverse=True)
        shape = (bags.shape[0], len(rows))
        used = sparse.csr_matrix((kept, places.astype(np.int32), bags.indptr), shape=shape)
        sums = sparse_times(used, state.adam.table[rows])
        loss, slope = self._objective.gradient(sums, project(teacher, self._material.axes), teacher)
        if math.isfinite(loss):
            gradient = sparse_times(used.T.tocsr(), slope)
            state.adam.step(rows.astype(np.int64), gradient, self._rate(state.adam.steps))
        return loss

    def _rate(self, step: int) -> float:
        """Rises linearly, then falls as half a cosine to zero (Loshchilov and Hutter, 2017)."""
        rise = min(1.0, (step + 1) / _WARM)
        return RATE * rise * 0.5 * (1.0 + math.cos(math.pi * step / sum(self._steps)))

    def _judge(self, state: TrainingState) -> None:
        loss = held_out_loss(state.adam.table, self._material, self._objective)
        state.history.append(
            {
                "epoch": state.epoch + 1,
                "training_loss": state.loss_sum / max(state.batch, 1),
                "held_out_loss": loss,
            }
        )
        if loss < state.best_loss:
            state.best, state.best_loss, state.stale = state.adam.table.copy(), loss, 0
            return
        state.stale += 1
        if not math.isfinite(loss):
            state.stopped = "diverged"
        elif state.stale >= PATIENCE:
            state.stopped = "patience"

    def _save(self, state: TrainingState) -> None:
        self._context.check_cancelled()
        self._checkpoints.save(state.adam.steps, lambda folder: state.write(folder, self._key))

    def _tell(self, state: TrainingState) -> None:
        total = sum(self._steps)
        done = total if state.stopped else sum(self._steps[: state.epoch]) + state.batch
        self._context.progress("train", done, total, unit="steps")
        self._context.check_cancelled()
