from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from inference.students import write_student
from serving import Serving, serving

from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind

LIMITS = {
    "max_texts": 64,
    "max_text_bytes": 10_000,
    "max_request_bytes": 60_000,
    "max_tokenize_bytes": 20_000,
    "max_response_bytes": 4_096,
    "max_stream_bytes": 6_000,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Two versions of a student ``s`` and a teacher ``t``, small limits, a root to import from."""
    root = tmp_path_factory.mktemp("root")
    data = tmp_path_factory.mktemp("data")
    publish_models(data, root)
    with serving(data, allow_root=[root], **LIMITS) as running:
        yield running


def publish_models(data: Path, scratch: Path) -> None:
    student, teacher = scratch / "student", scratch / "teacher"
    write_student(student)
    teacher.mkdir()
    (teacher / "config.json").write_text("{}")
    registry = Registry.open(data)
    registry.publish("s", ModelKind.STUDENT, student, metadata={"dimensions": 16})
    registry.publish("s", ModelKind.STUDENT, student)
    registry.publish("t", ModelKind.TEACHER, teacher)
    registry.close()
