"""The encoder of a training, by its kind. What a kind needs is imported only for it."""

from __future__ import annotations

from pathlib import Path

from stillroom_registry.errors import StillroomError
from stillroom_server.classification.features.encoded import Encoder
from stillroom_server.inference.options import EmbedOptions


def load_encoder(
    folder: Path,
    kind: str,
    encoding: EmbedOptions,
    *,
    device: str = "auto",
    dtype: str = "auto",
    cache: Path | None = None,
    path: str = "options.encoding",
) -> Encoder:
    """``kind``: static, transformer or teacher. ``device`` and ``dtype`` are a teacher's; ``cache``
    keeps verdicts of a transformer's load-time checks.

    Raises InvalidArgument below ``path`` for an ``encoding`` that the encoder cannot do, and what
    loading its files raises.
    """
    try:
        if kind == "static":
            from stillroom_server.classification.features.static import StaticEncoder

            return StaticEncoder(folder, encoding)
        if kind == "transformer":
            from stillroom_server.classification.features.transformer import TransformerEncoder

            return TransformerEncoder(folder, encoding, cache=cache)
        from stillroom_server.classification.features.teacher import TeacherEncoder

        return TeacherEncoder(folder, encoding, device=device, dtype=dtype)
    except StillroomError as error:
        if error.field is not None and error.field.startswith("options."):
            error.field = f"{path}.{error.field.removeprefix('options.')}"
        raise
