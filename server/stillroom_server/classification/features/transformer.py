"""Students that are transformers: their vectors alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stillroom_server.classification.features.encoded import Encoded
from stillroom_server.inference.options import EmbedOptions
from stillroom_server.inference.results import TextWarning
from stillroom_server.inference.transformer.embedder import TransformerEmbedder


class TransformerEncoder:
    """``encoding`` says how texts are embedded. Raises what ``TransformerEmbedder.load`` and its
    ``validate`` raise."""

    kind = "transformer"
    texts_at_once = 64
    table = None

    def __init__(self, folder: Path, encoding: EmbedOptions, *, cache: Path | None = None) -> None:
        self._embedder = TransformerEmbedder.load(folder, cache=cache)
        self._encoding = encoding
        how = self._embedder.validate(encoding)
        self.dimensions = how.dimensions
        self.max_tokens = how.max_tokens

    def encode(self, texts: Sequence[str], check: Callable[[], None]) -> Encoded:
        check()
        result = self._embedder.embed(texts, self._encoding)
        return Encoded(
            result.vectors, result.warnings == TextWarning.NONE, result.truncated, result.tokens
        )
