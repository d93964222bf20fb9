"""Many texts through one server: its memory does not grow with them.

``STILLROOM_SOAK_TEXTS`` sets how many (default 200,000).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from inference.students import WORDS, write_student

from faults.processes import ServerProcess
from stillroom.v1 import embedding_service_pb2 as pb
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind

TEXTS = int(os.environ.get("STILLROOM_SOAK_TEXTS", "200000"))
PER_MESSAGE = 256
PER_STREAM = 40  # messages: streams come and go, too
GROWTH = 16 << 20
"""Bytes: some eighty a text, where a vector has a thousand. How an allocator spreads over the cores
of a machine makes a few millions."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    folder = write_student(tmp_path / "student", dimensions=256)
    registry = Registry.open(tmp_path / "data")
    registry.publish("s", ModelKind.STUDENT, folder)
    registry.close()
    choose = Random(0)

    def items() -> Iterator[pb.EmbedStreamRequest]:
        for _ in range(PER_STREAM):
            texts = [" ".join(choose.choices(WORDS, k=12)) for _ in range(PER_MESSAGE)]
            yield pb.EmbedStreamRequest(model="s", texts=texts)

    with ServerProcess(tmp_path / "data", tmp_path / "log") as server:
        done, first_tenth = 0, 0
        while done < TEXTS:
            answers = server.embedding.EmbedStream(items())
            done += sum(answer.embeddings.vectors.count for answer in answers)
            if not first_tenth and done >= TEXTS / 10:
                first_tenth = server.rss()
        grown = server.rss() - first_tenth
    assert done >= TEXTS
    assert grown < GROWTH, f"from {first_tenth:,} bytes by {grown:,}"
