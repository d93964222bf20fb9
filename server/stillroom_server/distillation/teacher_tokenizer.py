"""A teacher's tokenizer: ids with special tokens, cut to length, and what surrounds a text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers

from stillroom_registry.errors import DataLoss, FailedPrecondition
from stillroom_server.distillation.teacher_files import (
    corrupt,
    read_json,
    read_optional_object,
    read_transformer_settings,
)

_FILE = "tokenizer.json"
_UNLIMITED = 1_000_000  # transformers writes 1e30 for "not known"
# These count positions from behind the padding id, so two of their table's rows hold no position.
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet"})


class TeacherTokenizer:
    """Not to be shared between threads: the length it cuts at is a setting of the instance."""

    def __init__(
        self,
        source: str,
        max_tokens: int | None,
        *,
        lowercase: bool = False,
        cut_left: bool | None = None,
    ) -> None:
        """``source`` is a tokenizer.json. ``cut_left``: a long text loses its beginning; None: as
        ``source`` says, at the end where it is silent. Raises DataLoss if it does not load."""
        try:
            self._tokenizer = Tokenizer.from_str(source)
        except Exception as error:  # tokenizers raises bare Exception
            raise DataLoss(
                f"{_FILE} is damaged: {error}", reason="FILE_CORRUPT", field="teacher"
            ) from error
        if lowercase:
            _add_lowercase(self._tokenizer)
        self.source = self._tokenizer.to_str() if lowercase else source
        self.max_tokens = max_tokens
        cutting = self._tokenizer.truncation or {}
        if cut_left is None:
            cut_left = str(cutting.get("direction", "")).lower() == "left"
        self._cut = "left" if cut_left else "right"
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, special tokens included, cut to ``max_tokens``."""
        if self.max_tokens is not None:
            self._tokenizer.enable_truncation(self.max_tokens, direction=self._cut)
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [encoding.ids for encoding in encodings]

    def plain(self, text: str) -> list[int]:
        """The ids of a text without special tokens, not cut."""
        self._tokenizer.no_truncation()
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    @cached_property
    def surroundings(self) -> tuple[list[int], list[int]]:
        """The ids before and behind every text, such as [CLS] and [SEP]."""
        self._tokenizer.no_truncation()
        encoding = self._tokenizer.encode("a")
        special = list(encoding.special_tokens_mask)
        if 0 not in special:
            return encoding.ids, []
        first = special.index(0)
        last = len(special) - 1 - special[::-1].index(0)
        return encoding.ids[:first], encoding.ids[last + 1 :]

    @cached_property
    def largest_id(self) -> int:
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)


def load_tokenizer(folder: Path, config: Mapping[str, Any]) -> TeacherTokenizer:
    """The fast tokenizer of ``folder``, cutting where sentence-transformers would.

    Raises FailedPrecondition(NO_FAST_TOKENIZER) where there is none and none can be made.
    """
    settings = read_transformer_settings(folder)
    declared = read_optional_object(folder / "tokenizer_config.json")
    side = declared.get("truncation_side")
    return TeacherTokenizer(
        _source(folder),
        _max_tokens(settings.get("max_seq_length"), declared.get("model_max_length"), config),
        lowercase=bool(settings.get("do_lower_case")),
        cut_left=None if side is None else side == "left",
    )


def _max_tokens(chosen: Any, declared: Any, config: Mapping[str, Any]) -> int | None:
    positions = config.get("max_position_embeddings")
    limits = [chosen, declared] if chosen is None else [chosen]
    if isinstance(positions, int) and positions > 0:
        offset = 0
        if config.get("model_type") in _OFFSET_POSITIONS:
            offset = int(config.get("pad_token_id") or 1) + 1
        limits.append(positions - offset)
    numbers = [int(n) for n in limits if isinstance(n, int | float) and 0 < n < _UNLIMITED]
    return min(numbers, default=None)


def _source(folder: Path) -> str:
    path = folder / _FILE
    if path.is_file():
        if not isinstance(value := read_json(path), dict) or "model" not in value:
            raise corrupt(path, "it holds no tokenizer")
        return json.dumps(value, ensure_ascii=False)
    return _converted(folder)


def _converted(folder: Path) -> str:
    """The fast form that transformers makes of older files, such as vocab.txt."""
    try:
        if not any((folder / name).exists() for name in ("vocab.txt", "vocab.json")):
            raise FileNotFoundError("no vocab.txt and no vocab.json")
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(
            str(folder), use_fast=True, trust_remote_code=False, local_files_only=True
        )
        backend: Tokenizer = tokenizer.backend_tokenizer
        return backend.to_str()
    except Exception as error:
        raise FailedPrecondition(
            f"{folder.name} has no fast tokenizer: no {_FILE}, and none can be made of its other"
            f" files ({error}); save one with AutoTokenizer.from_pretrained(...).save_pretrained",
            reason="NO_FAST_TOKENIZER",
            field="teacher",
        ) from error


def _add_lowercase(tokenizer: Tokenizer) -> None:
    parts = [normalizers.Lowercase()]
    if tokenizer.normalizer is not None:
        parts.append(tokenizer.normalizer)
    tokenizer.normalizer = normalizers.Sequence(parts)
