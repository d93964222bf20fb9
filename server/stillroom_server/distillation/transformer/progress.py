"""How far a training is: everything that a checkpoint holds beside tensors."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from stillroom_server.distillation.tuning.protocols import Json


@dataclass
class TrainingState:
    """``epoch`` and ``batch``: the next to do, from 0; ``step``: how many are done in all, with so
    many ``tokens`` in so many ``seconds``. ``total`` and ``fitted``: of the schedule. ``best``: the
    best mean cosine to the teacher on held-out texts, after ``best_step``. ``history``: a row for
    each time it was measured, with the mean loss since the time before. ``stopped``: why training
    is over; empty while it is not."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    total: int = 0
    fitted: bool = False
    best: float = -2.0
    best_step: int = -1
    stopped: str = ""
    loss_sum: float = 0.0
    loss_count: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Json) -> TrainingState:
        return cls(**value)

    def stepped(self, loss: float, tokens: int, steps_of_epoch: int) -> bool:
        """Notes a step; whether it was the last of its epoch."""
        self.loss_sum += loss
        self.loss_count += 1
        self.tokens += tokens
        self.step += 1
        self.batch += 1
        ended = self.batch >= steps_of_epoch
        if ended:
            self.epoch, self.batch = self.epoch + 1, 0
        return ended

    def judged(self, cosine: float) -> bool:
        """Notes a measurement; whether it is the best so far."""
        loss = self.loss_sum / self.loss_count if self.loss_count else None
        self.history.append(
            {
                "step": self.step,
                "epoch": self.epoch,
                "loss": None if loss is None else round(loss, 6),
                "cosine": round(cosine, 6),
            }
        )
        self.loss_sum, self.loss_count = 0.0, 0
        if cosine > self.best:
            self.best, self.best_step = cosine, self.step
            return True
        return False

    def since_best(self) -> int:
        """Measurements since the best one."""
        return sum(row["step"] > self.best_step for row in self.history)
