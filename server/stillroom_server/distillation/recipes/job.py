"""What a recipe is handed, and what it hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_server.distillation.features.options import FeatureOptions
from stillroom_server.distillation.recipes.request import DistillRequest
from stillroom_server.distillation.teacher import Teacher
from stillroom_server.operations.checkpoints import Checkpoints
from stillroom_server.security.paths import AllowedRoots

if TYPE_CHECKING:
    from stillroom_registry.values import ModelVersion
    from stillroom_server.distillation.corpus import Corpus
    from stillroom_server.distillation.features import FeatureCache, Features
    from stillroom_server.distillation.fidelity.progress import EncodeTeacher
    from stillroom_server.operations.context import OperationContext


@dataclass(frozen=True)
class Job:
    """One distillation. ``source`` is the teacher, or the student to quantize, ``folder`` its
    files. The student goes to ``output``; what must outlive a kill into ``workspace``. ``verdicts``
    keeps what was found out about tokenizers and engines; ``roots`` may be read."""

    request: DistillRequest
    source: ModelVersion
    folder: Path
    output: Path
    context: OperationContext
    cache: FeatureCache
    verdicts: Path
    roots: AllowedRoots
    device: str
    dtype: str
    corpus: Corpus | None = None

    @property
    def workspace(self) -> Path:
        return self.context.workspace

    @property
    def lineage(self) -> dict[str, Any]:
        found: dict[str, Any] = {"teacher_digest": self.source.digest}
        if self.corpus is not None:
            found["corpus_digest"] = self.corpus.digest
        return found

    def checkpoints(self, name: str) -> Checkpoints:
        """Those of one step; each is a moment at which others may have their turn."""
        return Checkpoints(
            self.workspace / f"checkpoints-{name}", self.context.confirm, self.context.give_way
        )

    def teacher(self) -> Teacher:
        """The teacher as it embeds sentences."""
        return Teacher.load(self.folder, self.device, self.dtype)

    def features(self, prompt_name: str | None = None) -> Features:
        """The teacher's vectors of the corpus, computed or found."""
        from stillroom_server.distillation.features import featurize

        assert self.corpus is not None
        return featurize(
            self.teacher,
            self.source.digest,
            self.corpus,
            self.cache,
            self.workspace / "features",
            FeatureOptions(prompt_name=prompt_name, dtype=self.dtype, device=self.device),
            self.context,
        )


@dataclass(frozen=True)
class Made:
    """A student in the job's output folder, verified and not yet measured.

    ``facts`` are what the recipe knows for the report. ``measuring`` are arguments of
    ``fidelity.measure.measure`` beside those that every recipe has; ``encode_teacher`` gives what
    the student is measured against, where it is not the job's teacher with its default prompt.
    """

    recipe: str
    options: Mapping[str, Any]
    facts: dict[str, Any]
    features: Features | None = None
    measuring: Mapping[str, Any] = field(default_factory=dict)
    encode_teacher: EncodeTeacher | None = None
