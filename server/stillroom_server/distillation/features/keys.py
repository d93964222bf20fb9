"""The name of a shard's vectors: a digest of everything that their bits depend on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from importlib import metadata

from stillroom_server.distillation.features.options import FeatureOptions

_FORMAT = 1  # another number: batches are made in another way, or files written
_LIBRARIES = ("torch", "transformers", "tokenizers")


def feature_key(teacher_digest: str, shard_digest: str, options: FeatureOptions) -> str:
    """64 hex digits. ``options`` are resolved; the prompt's text is part of the teacher's digest.

    Processors are left out: on another machine the last bits may differ, and vectors of the first
    are as good.
    """
    parts = {
        "format": _FORMAT,
        "teacher": teacher_digest,
        "texts": shard_digest,
        "options": asdict(options),
        "libraries": {name: metadata.version(name) for name in _LIBRARIES},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
