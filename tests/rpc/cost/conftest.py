"""A server with a student, a teacher, a classifier, data, a price and a region."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from inference.students import wordpiece, write_student
from serving import Serving, serving

from rpc.classifiers import write_classifier
from rpc.estimating import write_teacher
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that requests may read: a corpus of 300 texts, 90 labeled ones, models."""
    root = tmp_path_factory.mktemp("root")
    texts = (f"the card number {number} has not arrived\n" for number in range(300))
    (root / "c.txt").write_text("".join(texts))
    rows = (f"text {number},l{number % 3}\n" for number in range(90))
    (root / "d.csv").write_text("".join(["text,label\n", *rows]))
    return root


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A data directory with a student ``s``, a teacher ``t`` of 64 dimensions and 32 tokens, and a
    classifier ``c``."""
    data = tmp_path_factory.mktemp("data")
    publish(root, data)
    return data


@pytest.fixture(scope="package")
def server(root: Path, data: Path) -> Iterator[Serving]:
    """It has a price and a region."""
    settings = {"max_texts": 64, "cost_price_usd_per_hour": 0.36, "cost_region": "FRA"}
    hub = {"hub_push": True, "hub_allow": ["allowed/*"], "hub_endpoint": "http://127.0.0.1:9"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STILLROOM_HUB_TOKEN", "hf_" + "x" * 20)
        with serving(data, allow_root=[root], **settings, **hub) as running:
            yield running


def publish(root: Path, data: Path) -> None:
    teacher = root / "teacher"
    teacher.mkdir()
    write_teacher(teacher)
    (teacher / "tokenizer.json").write_text(wordpiece())
    registry = Registry.open(data)
    registry.publish("s", ModelKind.STUDENT, write_student(root / "student"))
    registry.publish("t", ModelKind.TEACHER, teacher)
    registry.publish("c", ModelKind.CLASSIFIER, write_classifier(root / "classifier"))
    registry.close()
