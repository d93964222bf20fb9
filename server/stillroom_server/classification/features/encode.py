"""All texts of a training through their encoder, portion by portion."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.classification.features.encoded import Encoded, Encoder, joined
from stillroom_server.distillation.context import Context
from stillroom_server.distillation.corpus.shards import write_whole

PHASE = "encode"


def encode_texts(
    encoder: Encoder,
    texts: Sequence[str],
    context: Context,
    *,
    field: str = "data",
    places: Sequence[int] | NDArray[np.int64] | None = None,
    kept: Path | None = None,
    saved: Callable[[], None] = lambda: None,
) -> Encoded:
    """Reports the phase "encode". What takes long (transformers and teachers) is kept in the folder
    ``kept``, portion by portion, where an attempt after a kill finds it; ``saved`` is called after
    each, a moment at which nothing is lost by stopping. ``places``: the example that each text was,
    None: 0, 1, ...

    Raises InvalidArgument on ``field`` for a text that is too long where nothing may be cut or that
    is no UTF-8, FailedPrecondition (ENCODER_NOT_FINITE).
    """
    size = encoder.texts_at_once
    parts = []
    context.progress(PHASE, 0, len(texts), unit="texts")
    for start in range(0, len(texts), size):
        context.check_cancelled()
        portion = texts[start : start + size]
        file = None
        if kept is not None and encoder.table is None:
            kept.mkdir(parents=True, exist_ok=True)
            file = kept / f"{_digest(portion)}.npz"
        if file is not None and file.exists():
            parts.append(_read(file))
        else:
            own = range(start, start + len(portion)) if places is None else places[start:]
            parts.append(_portion(encoder, portion, context, field, own))
            if file is not None:
                _write(file, parts[-1])
                saved()
        context.progress(PHASE, min(start + size, len(texts)), len(texts), unit="texts")
    return joined(parts, encoder.dimensions)


def _portion(
    encoder: Encoder,
    texts: Sequence[str],
    context: Context,
    field: str,
    places: Sequence[int] | NDArray[np.int64],
) -> Encoded:
    try:
        encoded = encoder.encode(texts, context.check_cancelled)
    except InvalidArgument as error:
        # Of texts[i]; the examples have no such field.
        place = (error.field or "").removeprefix("texts[").removesuffix("]")
        if not place.isdecimal():
            raise
        raise InvalidArgument(
            f"example {places[int(place)]}: {error.message}",
            reason=error.reason,
            field=field,
            metadata=error.metadata,
        ) from error
    if not np.isfinite(encoded.vectors).all():
        raise FailedPrecondition(
            "the encoder gives vectors that are not finite; its weights are damaged",
            reason="ENCODER_NOT_FINITE",
            field="encoder",
        )
    return encoded


def _digest(texts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode(errors="surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def _write(file: Path, encoded: Encoded) -> None:
    stream = io.BytesIO()
    np.savez(
        stream,
        allow_pickle=False,
        vectors=encoded.vectors,
        known=encoded.known,
        truncated=encoded.truncated,
        tokens=encoded.tokens,
    )
    write_whole(file, stream.getvalue())


def _read(file: Path) -> Encoded:
    with np.load(file) as stored:
        return Encoded(stored["vectors"], stored["known"], stored["truncated"], stored["tokens"])
