"""What a version remembers of how it was made, so that it can be made again: part of its metadata,
which its lineage shows when it is long deleted."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

_LIBRARIES = (
    *("stillroom", "numpy", "scipy", "safetensors", "tokenizers", "torch", "transformers"),
    *("onnx", "onnxruntime"),
)
KEY = "provenance"


def provenance(
    *,
    seed: int | None = None,
    sources: Mapping[str, str] | None = None,
    corpora: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Under KEY: ``seed`` as text, as it may have 64 bits; the digests of ``sources``, versions by
    name, and of ``corpora``, texts by what they were for; ``libraries``, versions of those that are
    installed."""
    found: dict[str, Any] = {} if seed is None else {"seed": str(seed)}
    if sources:
        found["sources"] = dict(sources)
    if corpora:
        found["corpora"] = dict(corpora)
    return {KEY: {**found, "libraries": _libraries()}}


def _libraries() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
