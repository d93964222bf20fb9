"""A teacher's rows, computed once: kept like the vectors of a corpus."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.context import Context
from stillroom_server.distillation.features import FeatureOptions
from stillroom_server.distillation.features.keys import feature_key
from stillroom_server.distillation.features.vector_file import (
    check_vectors,
    map_vectors,
    write_vectors,
)
from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.recipes.job import Job
from stillroom_server.distillation.rows import EncodeRows, encode_rows
from stillroom_server.distillation.teacher import Teacher
from stillroom_server.distillation.vocabulary import StudentVocabulary


def kept_rows(
    job: Job, options: StaticOptions, on_found: Callable[[], None] = lambda: None
) -> EncodeRows:
    """As ``encode_rows``, but what an earlier attempt or operation computed is not computed again;
    ``on_found`` is told so."""

    def encode(
        teacher: Teacher, vocabulary: StudentVocabulary, prompt: str, context: Context
    ) -> NDArray[np.float32]:
        key = _key(job, options, vocabulary)
        path, rows = job.workspace / f"rows-{key[:16]}.vectors", len(vocabulary)
        columns = check_vectors(path, key, rows)
        if columns is None:
            path.unlink(missing_ok=True)
            if job.cache.take(key, path):
                columns = check_vectors(path, key, rows)
                if columns is None:
                    job.cache.drop(key)
        if columns is not None:
            on_found()
            context.progress("encode", rows, rows, unit="tokens", message="were there already")
            context.check_cancelled()
            return np.array(map_vectors(path, rows, columns))
        vectors = encode_rows(teacher, vocabulary, prompt, context)
        path.unlink(missing_ok=True)
        write_vectors(path, key, vectors)
        job.cache.put(key, path)
        return vectors

    return encode


def _key(job: Job, options: StaticOptions, vocabulary: StudentVocabulary) -> str:
    rows = {"ids": [int(token) for token in vocabulary.teacher_ids], "words": vocabulary.words}
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    how = FeatureOptions(
        prompt_name=options.prompt_name,
        dtype=job.dtype,
        device=job.device,
        pooling=options.pooling,
        normalize=False,
    ).resolved()
    return feature_key(job.source.digest, f"rows:{digest}", how)
