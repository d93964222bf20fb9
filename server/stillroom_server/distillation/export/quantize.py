"""How the rows of a table are stored."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from stillroom_registry.errors import InvalidArgument

ElementType = Literal["float32", "float16", "int8"]
ELEMENT_TYPES: tuple[str, ...] = get_args(ElementType)


def quantize(
    table: NDArray[np.float32], element_type: str
) -> tuple[NDArray[Any], NDArray[np.float32] | None]:
    """(V, d) float32 -> the stored table (V, d) and, but for float32, a weight a row (V,) float32.

    float16 has weights of one: they change no vector, and make sentence-transformers compute in
    float32. Without them it normalizes in float16, where its guard against 0/0 underflows, and a
    text of unknown words alone is NaN. A reader that knows no weights still reads the right rows.

    int8 is symmetric, one scale a row: ``scale = max|row| / 127``. A scale of its own keeps a rare
    word's small row from drowning in the step of a common one's; model2vec reads it as a token
    weight. Raises InvalidArgument for an unknown type or values outside it.
    """
    if element_type not in ELEMENT_TYPES:
        raise InvalidArgument(
            f"unknown element type {element_type!r}; one of {', '.join(ELEMENT_TYPES)}",
            field="element_type",
        )
    if not np.isfinite(table).all():
        raise InvalidArgument("the table holds values that are not finite", reason="TABLE_INVALID")
    if element_type == "float32":
        return np.ascontiguousarray(table, dtype=np.float32), None
    if element_type == "float16":
        if float(np.abs(table).max(initial=0.0)) > float(np.finfo(np.float16).max):
            raise InvalidArgument(
                "the table holds values beyond float16's range; store it as float32 or int8",
                field="element_type",
            )
        return table.astype(np.float16), np.ones(len(table), dtype=np.float32)
    scales = (np.abs(table).max(axis=1) / 127.0).astype(np.float32)
    # A row of zeros, or one too small for any scale, is stored as zeros under a scale of one.
    scales[scales < np.finfo(np.float32).tiny] = 1.0
    stored = np.clip(np.rint(table / scales[:, None]), -127, 127).astype(np.int8)
    return stored, scales
