"""A teacher as the engine holds it: its tokenizer, its forward pass, its facts."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stillroom_registry.errors import ResourceExhausted
from stillroom_server.distillation.precision import resolve_device, resolve_dtype
from stillroom_server.distillation.teacher import Teacher
from stillroom_server.distillation.teacher_files import find_weights
from stillroom_server.teachers.job import Vectors
from stillroom_server.teachers.settings import EngineSettings
from stillroom_server.teachers.tokenizing import Ids, TextTokenizer
from stillroom_server.teachers.values import TeacherFacts

UNSTATED_MAX_TOKENS = 8192
"""The limit of teachers that state none: attention over a megabyte of text would need terabytes."""
_TOKENIZER_BYTES = 10  # resident bytes of a tokenizer per byte of its tokenizer.json, twice over
_ONE_BATCH = 1 << 40


class TorchTeacher:
    """Made by ``load``. ``forward`` is for one thread; the rest is safe under any."""

    def __init__(self, name: str, teacher: Teacher, memory_bytes: int) -> None:
        self.name = name
        self.dimensions = teacher.dim
        self.tokenizer = TextTokenizer(
            teacher.tokenizer_json, include_prompt=teacher.files.modules.include_prompt
        )
        self._teacher = teacher
        self.facts = TeacherFacts(
            dimensions=teacher.dim,
            max_tokens=teacher.tokenizer.max_tokens or UNSTATED_MAX_TOKENS,
            special_tokens=self.tokenizer.special_tokens,
            prompts=teacher.files.prompts,
            default_prompt=teacher.files.default_prompt,
            memory_bytes=memory_bytes + _TOKENIZER_BYTES * 2 * len(teacher.tokenizer_json),
            device=teacher.device,
            dtype=teacher.dtype,
        )

    @classmethod
    def load(cls, name: str, folder: Path, settings: EngineSettings) -> TorchTeacher:
        """Blocks for as long as reading the weights takes, and importing torch the first time.

        Vectors come without the teacher's final normalization, which is each request's choice.
        Raises as ``Teacher.load`` does.
        """
        teacher = Teacher.load(folder, settings.device, settings.dtype, normalize=False)
        return cls(name, teacher, weight_bytes(folder, teacher.dtype))

    def forward(self, rows: Sequence[Ids], skip: int) -> Vectors:
        """One forward pass; in halves where memory is too short for all rows at once."""
        try:
            return self._teacher.encode_ids(rows, skip=skip, batch_tokens=_ONE_BATCH)  # type: ignore[arg-type]
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
        return self._halved(rows, skip)

    def _halved(self, rows: Sequence[Ids], skip: int) -> Vectors:
        import numpy as np
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if len(rows) == 1:
            raise ResourceExhausted(
                f"memory is too short for a text of {len(rows[0])} tokens; lower max_tokens",
                reason="TEACHER_OUT_OF_MEMORY",
                field="options.max_tokens",
            )
        middle = len(rows) // 2
        parts = (self.forward(rows[:middle], skip), self.forward(rows[middle:], skip))
        return np.concatenate(parts)


def weight_bytes(folder: Path, dtype: str) -> int:
    """Bytes that the weights below ``folder`` take as ``dtype``, by the headers of their files."""
    return _elements(folder) * (2 if dtype == "bfloat16" else 4)


def estimate_bytes(folder: Path, settings: EngineSettings) -> int:
    """What ``load`` would hold, before it does."""
    element = resolve_dtype(settings.dtype, resolve_device(settings.device))
    return weight_bytes(folder, str(element).removeprefix("torch."))


def _elements(folder: Path) -> int:
    total = 0
    for path in _weight_files(folder):
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header: dict[str, Any] = json.loads(stream.read(length))
        tensors = (value for key, value in header.items() if key != "__metadata__")
        total += sum(math.prod(tensor["shape"]) for tensor in tensors)
    return total


def _weight_files(folder: Path) -> list[Path]:
    from stillroom_server.distillation.modules import read_modules

    modules = read_modules(folder)
    files = list(find_weights(modules.transformer))
    for module in modules.after:
        if module.kind in ("Dense", "LayerNorm"):
            files += find_weights(module.folder)
    return files


def _is_out_of_memory(error: BaseException) -> bool:
    import torch

    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)
