"""Where a model's tokenizer is, and what is known of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stillroom_server.imports.probe import ProbedTokenizer
from stillroom_server.imports.recognize import OWN_CLASSIFIER, TRANSFORMER_STUDENT, Recognized


def tokenizer_of(folder: Path, recognized: Recognized) -> Path | None:
    """The tokenizer.json to try; None for the head of a classifier on a teacher."""
    if recognized.layout == OWN_CLASSIFIER:
        # What its encoder is, its manifest vouches for; nothing but a student brings a tokenizer.
        found = sorted(folder.rglob("tokenizer.json"))
        return found[0] if found else None
    if recognized.kind != "teacher" and recognized.layout != TRANSFORMER_STUDENT:
        return folder / recognized.static / "tokenizer.json"
    from stillroom_server.distillation.modules import read_modules

    return read_modules(folder).transformer / "tokenizer.json"


def tokenizer_facts(tokenizer: ProbedTokenizer | None) -> dict[str, Any]:
    if tokenizer is None:
        return {}
    return {"tokenizer": tokenizer.model, "vocabulary": tokenizer.vocabulary}


def teacher_max_tokens(folder: Path) -> int | None:
    from stillroom_server.distillation.modules import read_modules
    from stillroom_server.distillation.teacher_files import read_transformer
    from stillroom_server.distillation.teacher_tokenizer import load_tokenizer

    where = read_modules(folder).transformer
    return load_tokenizer(where, read_transformer(where).config).max_tokens
