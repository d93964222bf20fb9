"""Looks at the data of requests, and remembers what it saw of files that have not changed."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stillroom_registry.errors import StillroomError
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelVersion
from stillroom_server.cost.facts import DataFacts
from stillroom_server.cost.looking.corpus import look_at_corpus
from stillroom_server.cost.looking.data import Described, data_facts
from stillroom_server.cost.looking.labeled import look_at_examples
from stillroom_server.cost.looking.look import Look
from stillroom_server.cost.looking.tokens import Recent, TokenCounter
from stillroom_server.security.paths import AllowedRoots

_KEPT = 64  # looks at files; each holds a sample of at most 128 KiB

_log = logging.getLogger(__name__)


class Looking:
    """For any thread. ``roots`` are the folders that a path may lie in."""

    def __init__(self, registry: Registry, roots: AllowedRoots) -> None:
        self._roots = roots
        self._tokens = TokenCounter(registry)
        self._kept: Recent[str, Look] = Recent(_KEPT)
        self._lock = threading.Lock()

    def corpus(
        self,
        source: Mapping[str, Any] | None,
        model: ModelVersion | None,
        described: Described,
    ) -> DataFacts:
        """Of a corpus as operations have it in JSON, in tokens of ``model``. What cannot be read
        is not known: why it cannot be read is told by who reads all of it."""
        needed = not (described.texts and described.tokens_per_text)
        return self._facts(
            *("corpus", source, model, described, needed),
            lambda given: look_at_corpus(given, self._roots),
        )

    def examples(
        self,
        source: Mapping[str, Any] | None,
        model: ModelVersion | None,
        described: Described,
        *,
        multi_label: bool,
    ) -> DataFacts:
        """The same of labeled texts."""
        needed = not (described.texts and described.tokens_per_text and described.labels)

        def look(given: Mapping[str, Any]) -> Look | None:
            return look_at_examples(given, self._roots, multi_label=multi_label)

        how = "several labels" if multi_label else "a label"
        return self._facts(how, source, model, described, needed, look)

    def _facts(
        self,
        how: str,
        source: Mapping[str, Any] | None,
        model: ModelVersion | None,
        described: Described,
        needed: bool,
        look: Callable[[Mapping[str, Any]], Look | None],
    ) -> DataFacts:
        found = None
        try:
            if source and needed:
                found = self._looked(how, source, look)
        except (StillroomError, OSError) as error:
            _log.info("cannot look at the data of an estimate: %s", error)
        per_byte = None
        if found is not None and model is not None and not described.tokens_per_text:
            per_byte = self._tokens.per_byte(model, found.sample)
        return data_facts(described, found, per_byte)

    def _looked(
        self,
        how: str,
        source: Mapping[str, Any],
        look: Callable[[Mapping[str, Any]], Look | None],
    ) -> Look | None:
        key = _identity(how, source)
        if key is None:
            return look(source)
        with self._lock:
            known = self._kept.get(key)
        if known is not None:
            return known
        found = look(source)
        if found is not None:
            with self._lock:
                self._kept.put(key, found, 1)
        return found


def _identity(how: str, source: Mapping[str, Any]) -> str | None:
    """Equal for the same file, unchanged, read in the same way. None: it is no file."""
    named = source.get("path") or source.get("file")
    if not isinstance(named, str):
        return None
    status = Path(named).stat()
    state = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return json.dumps([how, dict(source), state], sort_keys=True)
