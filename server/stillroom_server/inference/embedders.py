"""The students that can be served, by what their folder holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from stillroom_registry.errors import DataLoss, StillroomError
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.transformer.embedder import TransformerEmbedder
from stillroom_server.inference.transformer.files import is_transformer_student
from stillroom_server.inference.transformer.lanes import Lanes

Embedder: TypeAlias = StudentEmbedder | TransformerEmbedder


def load_embedder(
    folder: Path,
    engine: str = "auto",
    tokenizer: str = "auto",
    *,
    cache: Path | None = None,
    digests: Mapping[str, str] | None = None,
    blame: type[StillroomError] = DataLoss,
    lanes: Lanes | None = None,
) -> Embedder:
    """Load the student in ``folder``, of either kind; arguments as their ``load``.

    ``engine`` chooses among those of a table of rows; a transformer has onnxruntime alone.
    """
    if is_transformer_student(folder):
        return TransformerEmbedder.load(folder, tokenizer, cache=cache, blame=blame, lanes=lanes)
    return StudentEmbedder.load(
        folder, engine, tokenizer, cache=cache, digests=digests, blame=blame
    )
