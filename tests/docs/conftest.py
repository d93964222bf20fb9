from __future__ import annotations

from collections.abc import Iterator

import pytest
from inference.students import write_student
from serving import Serving, serving

from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that has a student called ``mini``."""
    data = tmp_path_factory.mktemp("data")
    student = tmp_path_factory.mktemp("scratch") / "student"
    write_student(student)
    registry = Registry.open(data)
    registry.publish("mini", ModelKind.STUDENT, student)
    registry.close()
    with serving(data) as running:
        yield running
