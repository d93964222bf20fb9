"""The training loop: steps, judging by held-out texts, checkpoints, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.teacher_tokenizer import TeacherTokenizer
from stillroom_server.distillation.transformer import batches
from stillroom_server.distillation.transformer.keeping import read_checkpoint, write_checkpoint
from stillroom_server.distillation.transformer.losses import distillation_loss, hidden_loss
from stillroom_server.distillation.transformer.network import StudentNetwork, hidden_states
from stillroom_server.distillation.transformer.progress import TrainingState
from stillroom_server.distillation.transformer.schedule import PATIENCE, Schedule
from stillroom_server.distillation.transformer.start import reduced
from stillroom_server.distillation.transformer.workers import Workers
from stillroom_server.distillation.tuning.protocols import (
    Checkpoints,
    Context,
    Corpus,
    Features,
    Json,
)

# Pieces of a step; what one core computes at a time. Fixed, as results depend on it.
PIECES = 2
CHECKPOINT_SECONDS = 25.0
# Held-out texts that training is judged by, and how many steps pass at most until it is.
JUDGE_TEXTS = 1_024
JUDGE_STEPS = 1_500
_JUDGE_PIECE = 32
_WEIGHT_DECAY = 0.01
_CLIP = 1.0
_BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class Limits:
    """``epochs``: passes over the corpus at most; ``seconds``: of training at most, None: any."""

    epochs: int
    seconds: float | None
    seed: int


class Training:
    """One training of a network. ``run`` may be called once.

    ``axes``: what the teacher's vectors are projected to, None: nothing. ``teacher``: its
    transformer, whose layers the student's are compared with, None where they cannot be.
    """

    def __init__(
        self,
        network: StudentNetwork,
        corpus: Corpus,
        features: Features,
        tokenizer: TeacherTokenizer,
        prompt: str,
        axes: Tensor | None,
        teacher: Any,
        limits: Limits,
        checkpoints: Checkpoints,
        context: Context,
        workers: Workers,
        fingerprint: Json,
        clock: Callable[[], float],
    ) -> None:
        self._network = network
        self._corpus = corpus
        self._features = features
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._axes = axes
        self._teacher = teacher
        self._limits = limits
        self._checkpoints = checkpoints
        self._context = context
        self._workers = workers
        self._fingerprint = fingerprint
        self._clock = clock
        self._parameters = network.trained()
        for value in network.parameters():
            value.requires_grad_(False)
        for value in self._parameters.values():
            value.requires_grad_(True)
        self._optimizer = _optimizer(self._parameters)
        self._best = self._copy()
        counts = [shard.count for shard in corpus.training]
        self._steps = [
            batches.epoch_steps(counts, limits.seed, epoch) for epoch in range(limits.epochs)
        ]
        self.state = TrainingState(total=sum(self._steps))

    def run(self) -> TrainingState:
        """Trains until it is over and leaves the best weights in the network.

        Raises FailedPrecondition (TRAINING_DIVERGED), and what the context and the checkpoints
        raise.
        """
        self._resume()
        state = self.state
        last_saved = self._clock()
        self._started = last_saved - state.seconds
        if not state.history:
            self._judge()
        while not state.stopped:
            for batch in self._batches():
                steps = self._steps[state.epoch]
                ended = state.stepped(self._step(batch), sum(map(len, batch.rows)), steps)
                state.seconds = self._clock() - self._started
                self._plan()
                if ended or state.stopped or state.batch % JUDGE_STEPS == 0:
                    self._judge()
                self._tell()
                if ended or state.stopped:
                    break
                if self._clock() - last_saved >= CHECKPOINT_SECONDS:
                    self._save()
                    last_saved = self._clock()
        self._save()
        with torch.no_grad():
            for name, value in self._parameters.items():
                value.copy_(self._best[name])
        return state

    @property
    def trained_parameters(self) -> int:
        return sum(value.numel() for value in self._parameters.values())

    def _batches(self) -> Iterator[batches.Batch]:
        return batches.epoch_batches(
            self._corpus,
            self._features,
            self._tokenizer,
            self._prompt,
            self._limits.seed,
            self.state.epoch,
            skip=self.state.batch,
        )

    def _step(self, batch: batches.Batch) -> float:
        """One update of the weights; the mean loss of the batch."""
        schedule = Schedule(self.state.total, self.state.fitted)
        with_layers = self._teacher is not None and schedule.matches_layers(self.state.step)
        targets = reduced(batch.targets, self._axes)
        others = normalize(reduced(batch.others, self._axes), dim=-1)
        pieces = [list(range(at, len(batch.rows), PIECES)) for at in range(PIECES)]
        parts = self._workers.run(
            [
                partial(self._gradients, batch, targets, others, piece, with_layers)
                for piece in pieces
                if piece
            ]
        )
        loss = sum(part[0] for part in parts)
        if not math.isfinite(loss):
            raise FailedPrecondition(
                f"training diverged at step {self.state.step}: the loss is {loss}; the teacher's"
                " weights or vectors may be damaged",
                reason="TRAINING_DIVERGED",
                field="teacher",
                metadata={"step": str(self.state.step)},
            )
        self._workers.alone(
            partial(self._update, [part[1] for part in parts], schedule.rate(self.state.step))
        )
        return loss

    def _update(self, parts: Sequence[Sequence[Tensor | None]], rate: float) -> None:
        for at, value in enumerate(self._parameters.values()):
            for gradients in parts:  # in order, as the sum of floats depends on it
                gradient = gradients[at]
                if gradient is not None:
                    value.grad = gradient if value.grad is None else value.grad.add_(gradient)
        torch.nn.utils.clip_grad_norm_(list(self._parameters.values()), _CLIP)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)

    def _gradients(
        self,
        batch: batches.Batch,
        targets: Tensor,
        others: Tensor,
        piece: list[int],
        with_layers: bool,
    ) -> tuple[float, Sequence[Tensor | None]]:
        """What a piece adds to the loss of its batch, and to the gradient of every parameter."""
        ids, mask = map(torch.from_numpy, batches.padded([batch.rows[at] for at in piece]))
        network = self._network
        states = network.states(ids, mask)
        vectors = network.head(states[-1], mask)
        loss = distillation_loss(vectors, targets[piece], others, normalized=network.normalized)
        if with_layers:
            with torch.no_grad():
                truth = hidden_states(self._teacher, ids, mask)
            loss = loss + hidden_loss(states, truth, mask)
        loss = loss * (len(piece) / len(batch.rows))
        gradients = torch.autograd.grad(loss, list(self._parameters.values()), allow_unused=True)
        return float(loss.detach()), gradients

    def _plan(self) -> None:
        """Decides whether this was the last step."""
        state, budget = self.state, self._limits.seconds
        schedule = Schedule(state.total, state.fitted)
        schedule.fit(state.step, state.seconds, budget, two_parts=self._teacher is not None)
        state.total, state.fitted = schedule.total, schedule.fitted
        if state.epoch >= self._limits.epochs:
            state.stopped = "epochs"
        elif state.step >= state.total or (budget is not None and state.seconds >= budget):
            state.stopped = "time budget"

    def _judge(self) -> None:
        """Measures the held-out texts, and keeps the weights if they are the best so far."""
        if self.state.judged(self._held_out_cosine()):
            self._best = self._copy()
        elif self.state.since_best() >= PATIENCE and not self.state.stopped:
            self.state.stopped = "no better"

    def _held_out_cosine(self) -> float:
        rows: list[list[int]] = []
        parts: list[Tensor] = []
        has_held_out = any(shard.count for shard in self._corpus.held_out)
        shards = self._corpus.held_out if has_held_out else self._corpus.training
        vectors = self._features.held_out if has_held_out else self._features.training
        for index, shard in enumerate(shards):
            if len(rows) < JUDGE_TEXTS:
                rows += batches.tokenize(shard, self._tokenizer, self._prompt)
                parts.append(reduced(vectors(index), self._axes))
        rows, targets = rows[:JUDGE_TEXTS], torch.cat(parts)[:JUDGE_TEXTS]
        order = sorted(range(len(rows)), key=lambda at: (len(rows[at]), at))
        pieces = [order[at : at + _JUDGE_PIECE] for at in range(0, len(order), _JUDGE_PIECE)]
        found = self._workers.run([partial(self._cosines, rows, targets, at) for at in pieces])
        return float(torch.cat(found).mean())

    def _cosines(self, rows: list[list[int]], targets: Tensor, piece: list[int]) -> Tensor:
        with torch.no_grad():
            ids, mask = map(torch.from_numpy, batches.padded([rows[at] for at in piece]))
            return cosine_similarity(self._network(ids, mask), targets[piece], dim=1)

    def _copy(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self._parameters.items()}

    def _tell(self) -> None:
        state = self.state
        self._context.progress(
            "train",
            min(state.step, state.total),
            state.total,
            unit="steps",
            message=f"held-out cosine {state.history[-1]['cosine']:.4f}",
        )
        self._context.check_cancelled()

    def _save(self) -> None:
        def write(folder: Path) -> None:
            write_checkpoint(
                folder,
                self.state,
                self._fingerprint,
                self._parameters,
                self._optimizer,
                self._best,
            )

        self._checkpoints.save(self.state.step, write)

    def _resume(self) -> None:
        latest = self._checkpoints.latest()
        if latest is None:
            return
        found = read_checkpoint(latest[1], self._fingerprint, self._parameters, self._optimizer)
        if found is not None:
            self.state, self._best = found


def _optimizer(parameters: Mapping[str, Tensor]) -> torch.optim.Optimizer:
    """AdamW (arXiv 1711.05101); matrices decay, biases and norms do not."""
    groups = [
        {"params": [p for p in parameters.values() if p.dim() > 1], "weight_decay": _WEIGHT_DECAY},
        {"params": [p for p in parameters.values() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=_BETAS, fused=True)
