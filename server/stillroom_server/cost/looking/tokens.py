"""How many tokens texts have for a model, told by its own tokenizer and a sample of them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelVersion
from stillroom_server.inference.tokenizers.base import Unsupported
from stillroom_server.inference.tokenizers.huggingface import HuggingFaceTokenizer

_FILE = "tokenizer.json"
_LARGEST = 64 << 20  # bytes; the largest in use has about 40 MB
_KEPT_BYTES = 128 << 20
_KEPT_COUNTS = 512

K = TypeVar("K")
V = TypeVar("V")


class TokenCounter:
    """Counts with the tokenizers of registered models. Keeps those that it used last while they
    are small, and what it counted. For any thread."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._tokenizers: Recent[str, HuggingFaceTokenizer] = Recent(_KEPT_BYTES)
        self._counts: Recent[tuple[str, bytes], float] = Recent(_KEPT_COUNTS)

    def per_byte(self, version: ModelVersion, sample: Sequence[str]) -> float | None:
        """Tokens of ``sample`` over its bytes in UTF-8, without special tokens. None: there is
        nothing to count, or no tokenizer that can be read."""
        texts = "\0".join(sample).encode("utf-8", "replace")
        size = len(texts) - len(sample) + 1
        digest = next((file.digest for file in version.files if file.path == _FILE), None)
        if not sample or size <= 0 or digest is None:
            return None
        key = digest, hashlib.sha256(texts).digest()
        with self._lock:
            known = self._counts.get(key)
            if known is not None:
                return known
            tokenizer = self._tokenizers.get(digest) or self._load(version, digest)
            if tokenizer is None:
                return None
            ids, _ = tokenizer.encode(sample)
            found = len(ids) / size
            self._counts.put(key, found, 1)
            return found

    def _load(self, version: ModelVersion, digest: str) -> HuggingFaceTokenizer | None:
        with self._registry.open_file(version, _FILE) as stream:
            data = stream.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            return None
        try:
            tokenizer = HuggingFaceTokenizer(data.decode("utf-8"))
        except (Unsupported, UnicodeDecodeError):
            return None
        self._tokenizers.put(digest, tokenizer, tokenizer.nbytes)
        return tokenizer


class Recent(Generic[K, V]):
    """Keeps what was put or got last, of ``limit`` in all. Not for several threads at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """One that is larger than the limit by itself is not kept."""
        self._values.pop(key, None)
        if size > self._limit:
            return
        self._values[key] = value, size
        while sum(size for _, size in self._values.values()) > self._limit:
            self._values.popitem(last=False)
