"""A teacher: a sentence encoder as its folder defines it, loaded without trusting it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.distillation.encoder import Encoder, load_encoder
from stillroom_server.distillation.modules import ModuleFiles, build_step, read_modules
from stillroom_server.distillation.pooling import pool
from stillroom_server.distillation.precision import resolve_device, resolve_dtype
from stillroom_server.distillation.teacher_files import (
    TransformerFiles,
    read_optional_object,
    read_transformer,
)
from stillroom_server.distillation.teacher_tokenizer import TeacherTokenizer, load_tokenizer

if TYPE_CHECKING:
    from torch import Tensor

# Tokens in one forward pass: enough to fill every core, few enough that a small teacher's widest
# intermediate (tokens x 1,536 float32) stays in the last-level cache.
BATCH_TOKENS = 1536
_WINDOW = 2048  # texts sorted by length together; bounds memory
POOLER = "pooler"  # the checkpoint's own pooler instead of a pooling mode


@dataclass(frozen=True)
class TeacherFiles:
    """What a teacher's folder says, checked, with no weight read yet."""

    folder: Path
    transformer: TransformerFiles
    modules: ModuleFiles
    prompts: Mapping[str, str]
    default_prompt: str | None

    @classmethod
    def read(cls, folder: Path) -> TeacherFiles:
        """Raises what ``read_modules`` and ``read_transformer`` raise."""
        modules = read_modules(folder)
        settings = read_optional_object(folder / "config_sentence_transformers.json")
        prompts = settings.get("prompts") or {}
        default = settings.get("default_prompt_name")
        return cls(
            folder=folder,
            transformer=read_transformer(modules.transformer),
            modules=modules,
            prompts={str(name): str(text or "") for name, text in prompts.items()},
            default_prompt=str(default) if default in prompts else None,
        )

    def prompt(self, name: str | None) -> str:
        """The prompt of that name; None: the teacher's default, or none. Raises InvalidArgument
        (field prompt_name)."""
        chosen = self.default_prompt if name is None else name
        if chosen is None:
            return ""
        if chosen not in self.prompts:
            raise InvalidArgument(
                f"the teacher has no prompt {chosen!r}; it has:"
                f" {', '.join(self.prompts) or 'none'}",
                reason="UNKNOWN_PROMPT",
                field="prompt_name",
            )
        return self.prompts[chosen]


class Teacher:
    """Computes sentence vectors. Not safe for use from several threads at once."""

    def __init__(
        self,
        files: TeacherFiles,
        tokenizer: TeacherTokenizer,
        encoder: Encoder,
        steps: Sequence[Callable[[Tensor], Tensor]],
        device: Any,
        dtype: str,
    ) -> None:
        self.files = files
        self.tokenizer = tokenizer
        self.encoder = encoder
        self._steps = tuple(steps)
        self._pooling = files.modules.pooling
        self._device = device
        self.device = str(device)
        self.dtype = dtype
        self.dim = self._measure()

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str = "auto",
        dtype: str = "auto",
        *,
        pooling: str | None = None,
        normalize: bool = True,
        native: bool = True,
    ) -> Teacher:
        """Loads the teacher in ``folder``; reads safetensors only, runs no code of the folder's.

        ``device``: auto, cpu, cuda...; ``dtype``: auto, float32, bfloat16. ``pooling`` replaces the
        teacher's own pooling by one mode, or by its ``pooler``. ``normalize=False`` leaves out a
        final Normalize. ``native=False`` always runs transformers' code. Raises InvalidArgument,
        FailedPrecondition or DataLoss as the modules of this room say.
        """
        files = TeacherFiles.read(folder)
        if pooling is not None:
            files = replace(files, modules=replace(files.modules, pooling=(pooling,)))
        after = list(files.modules.after)
        if not normalize and after and after[-1].kind == "Normalize":
            after.pop()
        tokenizer = load_tokenizer(files.transformer.folder, files.transformer.config)
        place = resolve_device(device)
        element = resolve_dtype(dtype, place)
        encoder = load_encoder(files.transformer, place, element, native=native)
        if tokenizer.largest_id >= encoder.rows:
            raise FailedPrecondition(
                f"the tokenizer gives ids up to {tokenizer.largest_id}, the model knows"
                f" {encoder.rows}",
                reason="TOKENIZER_MODEL_MISMATCH",
                field="teacher",
            )
        if pooling == POOLER and not encoder.has_pooler:
            raise FailedPrecondition(
                "the teacher has no pooler; choose another pooling",
                reason="NO_POOLER",
                field="pooling",
            )
        steps = [build_step(module, place) for module in after]
        return cls(files, tokenizer, encoder, steps, place, str(element).removeprefix("torch."))

    @property
    def tokenizer_json(self) -> str:
        return self.tokenizer.source

    def encode(
        self,
        texts: Sequence[str],
        *,
        prompt: str | None = None,
        prompt_name: str | None = None,
        batch_tokens: int = BATCH_TOKENS * 4,
        on_done: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """The vectors of ``texts``, (n, dim), as sentence-transformers' ``encode`` gives them.

        ``prompt`` is put before each text; None takes the one named, else the teacher's default.
        ``on_done`` is told how many texts are done after each batch.
        """
        text = self.files.prompt(prompt_name) if prompt is None else prompt
        skip = self._prompt_length(text)
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), _WINDOW):
            window = [text + piece for piece in texts[start : start + _WINDOW]]
            self._encode_rows(
                self.tokenizer.encode(window),
                out[start : start + _WINDOW],
                batch_tokens,
                skip,
                None if on_done is None else _shifted(on_done, start),
            )
        return out

    def encode_ids(
        self,
        ids: Sequence[Sequence[int]] | NDArray[np.int64],
        *,
        skip: int = 0,
        batch_tokens: int = BATCH_TOKENS,
        on_done: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        """The vectors of token sequences, special tokens included: (n, s) ids, which need no
        padding, or lists of any lengths -> (n, dim) float32. ``skip`` tokens of a prompt at the
        front are left out of the pooling if the teacher says so."""
        out = np.empty((len(ids), self.dim), dtype=np.float32)
        if not isinstance(ids, np.ndarray):
            self._encode_rows(ids, out, batch_tokens, skip, on_done)
            return out
        rows = max(1, batch_tokens // max(1, ids.shape[1]))
        for start in range(0, len(ids), rows):
            batch = ids[start : start + rows]
            out[start : start + rows] = self._forward(batch, None, skip)
            if on_done is not None:
                on_done(start + len(batch))
        return out

    def prompt_ids(self, prompt: str) -> list[int]:
        """The ids that a prompt puts between the special token before a text and the text."""
        return self.tokenizer.plain(prompt.rstrip()) if prompt else []

    def _prompt_length(self, prompt: str) -> int:
        """How many tokens at the front to leave out of the pooling."""
        if not prompt or self.files.modules.include_prompt:
            return 0
        return len(self.tokenizer.surroundings[0]) + len(self.tokenizer.plain(prompt))

    def _encode_rows(
        self,
        rows: Sequence[Sequence[int]],
        out: NDArray[np.float32],
        batch_tokens: int,
        skip: int,
        on_done: Callable[[int], None] | None,
    ) -> None:
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        start = 0
        while start < len(order):
            end = start + 1
            while end < len(order) and len(rows[order[end]]) * (end + 1 - start) <= batch_tokens:
                end += 1
            batch = order[start:end]
            length = max(1, len(rows[batch[-1]]))
            ids = np.zeros((len(batch), length), dtype=np.int64)
            mask = np.zeros((len(batch), length), dtype=np.int64)
            for at, row in enumerate(batch):
                ids[at, : len(rows[row])] = rows[row]
                mask[at, : len(rows[row])] = 1
            out[batch] = self._forward(ids, None if mask.all() else mask, skip)
            start = end
            if on_done is not None:
                on_done(end)

    def _forward(
        self, ids: NDArray[np.int64], mask: NDArray[np.int64] | None, skip: int
    ) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            tokens = torch.from_numpy(np.ascontiguousarray(ids)).to(self._device)
            where = None if mask is None else torch.from_numpy(mask).to(self._device)
            # A text without a token, special ones included, has nothing to attend to: it gets one
            # for the pass, and pools to zeros.
            blank = None if where is None else where.amax(1) == 0
            if where is not None and blank is not None:
                where[:, 0] |= blank
            if self._pooling == (POOLER,):
                vectors = self.encoder.pooled(tokens, where).float()
            else:
                vectors = pool(self.encoder.hidden(tokens, where), where, self._pooling, skip)
            if blank is not None:
                vectors[blank] = 0.0
            for step in self._steps:
                vectors = step(vectors)
            result: NDArray[np.float32] = vectors.cpu().numpy()
            return result

    def _measure(self) -> int:
        """The size of a vector, found by making one, which also tries whether all parts fit and
        the weights are numbers."""
        try:
            vector = self._forward(np.zeros((1, 1), dtype=np.int64), None, 0)
        except (RuntimeError, IndexError) as error:
            raise FailedPrecondition(
                f"the teacher's parts do not fit one another: {error}",
                reason="MODULES_MISMATCH",
                field="teacher",
            ) from error
        if not np.isfinite(vector).all():
            raise FailedPrecondition(
                "the teacher's vectors are not finite; its weights are damaged or overflow",
                reason="TEACHER_NOT_FINITE",
                field="teacher",
            )
        return int(vector.shape[1])


def _shifted(on_done: Callable[[int], None], start: int) -> Callable[[int], None]:
    return lambda done: on_done(start + done)
