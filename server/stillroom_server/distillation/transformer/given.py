"""What a distillation is given, checked against each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.context import Context
from stillroom_server.distillation.teacher import TeacherFiles
from stillroom_server.distillation.teacher_tokenizer import TeacherTokenizer, load_tokenizer
from stillroom_server.distillation.transformer.options import TransformerOptions
from stillroom_server.distillation.transformer.shape import Shape, check_dimensions, shape_of
from stillroom_server.distillation.tuning.protocols import Corpus, Features

if TYPE_CHECKING:
    from stillroom_server.distillation.transformer.workers import Workers

# Longer texts are cut in training: attention to the end of a long text is learned from its start.
TRAINING_TOKENS = 128


@dataclass(frozen=True)
class Given:
    """What a distillation is given, checked against each other."""

    files: TeacherFiles
    shape: Shape
    tokenizer: TeacherTokenizer
    max_tokens: int | None
    dimensions: int
    prompt: str
    options: TransformerOptions


@dataclass(frozen=True)
class Run:
    """What every step of a distillation needs."""

    given: Given
    corpus: Corpus
    features: Features
    context: Context
    workers: Workers


def check(
    teacher_folder: Path,
    corpus: Corpus,
    features: Features,
    options: TransformerOptions,
    prompt_name: str | None,
) -> Given:
    files = TeacherFiles.read(teacher_folder)
    shape = shape_of(files.transformer.config, options)
    tokenizer = load_tokenizer(files.transformer.folder, files.transformer.config)
    most = tokenizer.max_tokens
    asked = options.max_tokens
    if asked is not None and most is not None and asked > most:
        raise InvalidArgument(
            f"max_tokens: {asked} is more than the teacher reads, {most}",
            field="transformer.max_tokens",
        )
    if not sum(shard.count for shard in corpus.training):
        raise InvalidArgument(
            "the corpus has no text to learn from; give it more texts",
            reason="CORPUS_TOO_SMALL",
            field="corpus",
        )
    return Given(
        files=files,
        shape=shape,
        tokenizer=tokenizer,
        max_tokens=most if asked is None else asked,
        dimensions=check_dimensions(options, features.dim),
        prompt=files.prompt(prompt_name),
        options=options,
    )


def cut(given: Given) -> TeacherTokenizer:
    """The tokenizer as training uses it."""
    limits = [TRAINING_TOKENS, given.max_tokens or TRAINING_TOKENS]
    return TeacherTokenizer(given.tokenizer.source, min(limits))
