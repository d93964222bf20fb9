"""The teacher's vector of every row of a student's vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.context import Context
from stillroom_server.distillation.features.batches import plan
from stillroom_server.distillation.passes import Passes
from stillroom_server.distillation.teacher import BATCH_TOKENS, Teacher
from stillroom_server.distillation.vocabulary import StudentVocabulary

EncodeRows: TypeAlias = Callable[[Teacher, StudentVocabulary, str, Context], NDArray[np.float32]]
"""Teacher, vocabulary, prompt, context -> (rows, h) float32."""


def encode_rows(
    teacher: Teacher, vocabulary: StudentVocabulary, prompt: str, context: Context
) -> NDArray[np.float32]:
    """(rows, h) float32: tokens by their ids between the special tokens, added words as the texts
    they are. A row that the teacher gives no finite vector is zeros.

    The bits do not depend on how many threads there are. Reports the phase ``encode`` in tokens.
    Raises FailedPrecondition (TEACHER_NOT_FINITE) when no row is finite.
    """
    total = len(vocabulary)
    vectors = np.empty((total, teacher.dim), dtype=np.float32)
    done = 0
    context.progress("encode", done, total, unit="tokens")
    context.check_cancelled()
    sequences, skip = _sequences(teacher, vocabulary, prompt)
    batches = plan([len(row) for row in sequences], BATCH_TOKENS)

    def compute(batch: list[int]) -> NDArray[np.float32]:
        rows: Any = [sequences[at] for at in batch]
        return teacher.encode_ids(rows, skip=skip)

    with Passes(teacher.device.partition(":")[0]) as passes:
        for batch, found in passes.run(batches, compute, context.check_cancelled):
            vectors[batch] = found
            done += len(batch)
            context.progress("encode", done, total, unit="tokens")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.any():
        raise FailedPrecondition(
            "the teacher's vectors are not finite; its weights are damaged or overflow",
            reason="TEACHER_NOT_FINITE",
            field="teacher",
        )
    vectors[~finite] = 0.0
    return vectors


def _sequences(
    teacher: Teacher, vocabulary: StudentVocabulary, prompt: str
) -> tuple[list[list[int]], int]:
    """The ids that the teacher reads for each row, and how many of a prompt are not pooled."""
    before, behind = teacher.tokenizer.surroundings
    front = [*before, *teacher.prompt_ids(prompt)]
    skip = 0 if teacher.files.modules.include_prompt or not prompt else len(front)
    known = vocabulary.teacher_ids[: len(vocabulary) - len(vocabulary.words)]
    sequences = [[*front, int(token), *behind] for token in known]
    if vocabulary.words:
        space = " " if vocabulary.leading_space and not prompt.endswith(" ") else ""
        texts = [prompt + space + word for word in vocabulary.words]
        sequences += [list(row) for row in teacher.tokenizer.encode(texts)]
    return sequences, skip
