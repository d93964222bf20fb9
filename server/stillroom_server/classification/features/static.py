"""Static students: their vectors from the very tokens that n-gram features and tuning read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from stillroom_registry.errors import DataLoss
from stillroom_server.classification.features.encoded import Encoded, StudentTable
from stillroom_server.inference.engines.base import Float32
from stillroom_server.inference.engines.gather import GatherEngine
from stillroom_server.inference.numerics import normalize
from stillroom_server.inference.options import EmbedOptions, plan
from stillroom_server.inference.student_files import StudentFiles
from stillroom_server.inference.text_errors import encoding_error, refuse_too_long
from stillroom_server.inference.tokenizers.base import Unsupported, count, limit
from stillroom_server.inference.tokenizers.choose import REFERENCE, choose_tokenizer


class StaticEncoder:
    """``encoding`` says how texts are embedded. Raises what ``StudentFiles.load`` and ``plan``
    raise."""

    kind = "static"
    texts_at_once = 4096

    def __init__(self, folder: Path, encoding: EmbedOptions) -> None:
        files = StudentFiles.load(folder)
        self._plan = plan(
            encoding,
            dimensions=files.dimensions,
            max_tokens=files.max_tokens,
            prompts=files.prompts,
        )
        try:
            # The reference needs no second's check, which few examples do not pay for.
            self._tokenizer = choose_tokenizer(files.tokenizer_json, REFERENCE).engine
        except Unsupported as failure:
            raise DataLoss(f"tokenizer.json: {failure}.", reason="TOKENIZER_INVALID") from failure
        self.dimensions = self._plan.dimensions
        self.max_tokens = self._plan.max_tokens
        self._table = _Table(files, self.dimensions, self._plan.normalize)
        self._engine = GatherEngine(self._table.rows)

    @property
    def table(self) -> StudentTable:
        return self._table

    def encode(self, texts: Sequence[str], check: Callable[[], None]) -> Encoded:
        check()
        prompt = self._plan.prompt
        try:
            ids, offsets = (
                self._tokenizer.encode([prompt + text for text in texts] if prompt else texts)
                if texts
                else (np.zeros(0, np.int32), np.zeros(1, np.int64))
            )
        except BaseException as failure:  # a panic of compiled code is no Exception
            raise encoding_error(texts, failure) from failure
        if not self._plan.truncate:
            refuse_too_long(offsets, self.max_tokens)
        batch = limit(ids, offsets, self.max_tokens, left=self._plan.truncate_left)
        known = batch.lengths - count(batch.ids, batch.offsets, self._table.unknown)
        vectors = self._engine.pool(batch.ids, batch.offsets)
        if self._plan.normalize:
            normalize(vectors)
        else:
            vectors /= np.maximum(known, 1).astype(np.float32)[:, None]
        return Encoded(
            vectors,
            known > 0,
            batch.truncated,
            batch.lengths.astype(np.int32),
            batch.ids,
            batch.offsets,
        )


class _Table:
    def __init__(self, files: StudentFiles, dimensions: int, normalized: bool) -> None:
        # Cut before it is used: a shorter prefix of a sum is the sum of the shorter prefixes.
        rows = files.effective_table()
        self.rows: Float32 = np.ascontiguousarray(rows[:, :dimensions])
        self.element_type = str(files.table.dtype)
        self.normalize = normalized
        self.unknown = files.unk_id
