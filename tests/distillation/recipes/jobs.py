"""Jobs for tests of what is decided before the work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distillation.recipes.room import Room

from stillroom_server.distillation.corpus import CorpusOptions, ingest
from stillroom_server.distillation.features import FeatureCache
from stillroom_server.distillation.recipes.job import Job
from stillroom_server.distillation.recipes.request import DistillRequest
from stillroom_server.security.paths import AllowedRoots


def job_of(room: Room, request: Mapping[str, Any], context: Any = None) -> Job:
    """The job of a request as the executor makes it, its corpus read."""
    asked = DistillRequest.from_json(request)
    context = context or room.context()
    context.expect(dict.fromkeys(("corpus", "load"), 1.0))
    source = room.registry.resolve(str(request["teacher"]))
    corpus = None
    if asked.corpus is not None:
        options = CorpusOptions(asked.held_out, asked.seed)
        corpus = ingest(asked.corpus, context.workspace / "corpus", options, context)
    return Job(
        request=asked,
        source=source,
        folder=room.registry.folder(source),
        output=context.workspace / "student",
        context=context,
        cache=FeatureCache(room.root / "data/cache/features", 1 << 30),
        verdicts=room.root / "verdicts",
        roots=AllowedRoots([room.root]),
        device="cpu",
        dtype="float32",
        corpus=corpus,
    )
