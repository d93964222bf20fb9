"""What a training is handed, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_server.classification.access import DataAccess
from stillroom_server.classification.encoders import EncoderSource
from stillroom_server.classification.request import TrainRequest
from stillroom_server.operations.checkpoints import Checkpoints

if TYPE_CHECKING:
    from stillroom_server.operations.context import OperationContext


@dataclass(frozen=True)
class Job:
    """One training on the encoder ``source``. The classifier goes to ``output``; what must outlive
    a kill into ``workspace``. ``verdicts`` keeps what was found out about tokenizers; ``clock``
    counts seconds."""

    request: TrainRequest
    source: EncoderSource
    output: Path
    context: OperationContext
    access: DataAccess
    verdicts: Path
    device: str
    dtype: str
    clock: Callable[[], float]

    @property
    def workspace(self) -> Path:
        return self.context.workspace

    def checkpoints(self) -> Checkpoints:
        """Those of the training; each is a moment at which others may have their turn."""
        return Checkpoints(
            self.workspace / "checkpoints", self.context.confirm, self.context.give_way
        )


@dataclass(frozen=True)
class Made:
    """A classifier in the job's output folder, verified and measured: a ClassifierDescription, a
    ClassificationReport, a DataReport and a TrainingReport in JSON."""

    description: dict[str, Any]
    report: dict[str, Any]
    data: dict[str, Any]
    training: dict[str, Any]
