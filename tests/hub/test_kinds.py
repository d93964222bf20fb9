"""Every kind of model goes to the Hub and comes back able to serve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from distillation.export.tiny import TEXTS
from imports.test_transformer_students import write as write_transformer
from inference.classifier.folders import write_tiny as write_classifier

from hub.room import Room
from stillroom_registry.registry import ModelKind
from stillroom_server.classification.export.folder import finish
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.embedders import load_embedder
from stillroom_server.inference.options import DEFAULT_OPTIONS


def there_and_back(room: Room, folder: Path, kind: ModelKind) -> tuple[Path, Path]:
    """The folders of the version that went, and of the one that came."""
    went = room.registry.publish("mini", kind, folder)
    room.push(went)
    came = room.registry.resolve(room.pull("copy")["model_version"])
    assert came.kind is kind
    return room.registry.folder(went), room.registry.folder(came)


@pytest.mark.slow
def test_a_transformer_student(room: Room, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    write_transformer(tmp_path / "model" / "student")
    went, came = there_and_back(room, tmp_path / "model" / "student", ModelKind.STUDENT)
    vectors = [
        np.asarray(load_embedder(folder).embed(list(TEXTS), DEFAULT_OPTIONS).vectors)
        for folder in (went, came)
    ]
    assert np.array_equal(*vectors)


@pytest.mark.slow
def test_a_classifier(room: Room, tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "classifier")
    finish(folder, report_markdown="## Report", report_html="<p>")
    went, came = there_and_back(room, folder, ModelKind.CLASSIFIER)
    answers = [Classifier.load(each, "huggingface").classify(list(TEXTS)) for each in (went, came)]
    assert np.array_equal(answers[0].probabilities, answers[1].probabilities)
    card = room.hub.store.repos["models", "org/mini"].resolve("main")
    assert card is not None
    assert b"text-classification" in (card.files["README.md"].data or b"")
