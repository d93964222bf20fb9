"""Classifiers on transformer students and on teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classification.contexts import Killed
from classification.room import Room, asking
from distillation.teachers import make as make_teacher
from inference.transformers import write_transformer

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_registry.registry import ModelKind
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.embedders import load_embedder

WORDS = {"card": ("card", "arrived", "waiting"), "rate": ("exchange", "rate", "fee")}
TEACHER_WORDS = {"animal": ("fox", "dog", "quick"), "school": ("teacher", "student", "words")}


def about(words: dict[str, tuple[str, ...]], count: int = 8) -> list[list[Any]]:
    """Texts of words that the encoders of these tests know."""
    return [
        [f"the {' '.join(own[: 1 + at % 3])} and {own[at % 3]}", [name]]
        for at in range(count)
        for name, own in words.items()
    ]


@pytest.fixture(params=["transformer", "teacher"])
def encoder(request: pytest.FixtureRequest, room: Room, tmp_path: Path) -> str:
    if request.param == "transformer":
        write_transformer(tmp_path / "shallow")
        room.registry.publish("shallow", ModelKind.STUDENT, tmp_path / "shallow")
        return "shallow"
    make_teacher("bert", tmp_path / "bert")
    room.registry.publish("bert", ModelKind.TEACHER, tmp_path / "bert")
    return "bert"


def request_of(encoder: str, **more: Any) -> dict[str, Any]:
    words = WORDS if encoder == "shallow" else TEACHER_WORDS
    return asking(about(words), encoder=f"models/{encoder}/versions/1", **more)


def test_it_is_trained_registered_and_measured(room: Room, encoder: str) -> None:
    context = room.context()
    result = room.train(request_of(encoder), context)
    described = result["classifier"]
    assert described["labels"] == sorted(WORDS if encoder == "shallow" else TEACHER_WORDS)
    assert described["encoder_version"] == f"models/{encoder}/versions/1"
    assert described["options"]["encoder_tuning"]["mode"] == "ENCODER_TUNING_MODE_FROZEN"
    assert result["report"]["accuracy"] > 0.8
    files = {file.path for file in room.registry.resolve("sorter").files}
    assert ("onnx/head.onnx" if encoder == "bert" else "onnx/classifier.onnx") in files
    assert {"report.html", "README.md", "classifier.json", "classifier.safetensors"} <= files
    assert list(dict.fromkeys(context.phases)) == context.expected
    examples = request_of(encoder)["data"]["examples"]
    data = {"examples": examples}
    measured = room.evaluate({"model": "models/sorter/versions/1", "data": data})["report"]
    assert measured["accuracy"] > 0.8


def test_what_was_encoded_is_not_encoded_again(
    room: Room, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = room.context()
    context.dies_after = "encode"
    with pytest.raises(Killed):
        room.attempt(request_of(encoder), context)
    context.dies_after = ""
    with monkeypatch.context() as patch:
        for name in ("transformer.TransformerEncoder", "teacher.TeacherEncoder"):
            patch.setattr(
                f"stillroom_server.classification.features.{name}.encode", _never, raising=True
            )
        room.train(request_of(encoder), context)
    room.train(request_of(encoder, name="whole"))
    assert room.bytes_of() == room.bytes_of("whole")


def test_others_have_their_turn_between_portions(
    room: Room, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("transformer.TransformerEncoder", "teacher.TeacherEncoder"):
        monkeypatch.setattr(f"stillroom_server.classification.features.{name}.texts_at_once", 4)
    context = room.context()
    for _ in range(3):  # the last of four portions is as the first
        context.die_at, context.checkpoints = 1, 0
        with pytest.raises(Killed):
            room.attempt(request_of(encoder), context)
        assert context.saved[-1] == "encode"
    context.die_at = context.checkpoints = 0
    room.train(request_of(encoder), context)
    assert context.checkpoints == 0


def _never(*_: Any) -> Any:
    raise AssertionError("encoded again")


@pytest.mark.parametrize(
    "options",
    [
        {"ngrams": {"mode": "NGRAM_MODE_ON"}},
        {"encoder_tuning": {"mode": "ENCODER_TUNING_MODE_TOKEN_WEIGHTS"}},
    ],
)
def test_what_only_static_students_have(room: Room, encoder: str, options: dict[str, Any]) -> None:
    context = room.context()
    with pytest.raises(InvalidArgument) as caught:
        room.train(request_of(encoder, options=options), context)
    assert caught.value.field == f"options.{next(iter(options))}.mode"
    assert context.phases == []


def test_the_served_classifier_of_a_student_reads_its_own_copy(room: Room, tmp_path: Path) -> None:
    write_transformer(tmp_path / "shallow")
    room.registry.publish("shallow", ModelKind.STUDENT, tmp_path / "shallow")
    room.train(request_of("shallow"))
    room.registry.delete_model("shallow")
    served = Classifier.load(room.folder())
    texts = [text for text, _ in about(WORDS)]
    found = served.classify(texts)
    own = load_embedder(room.folder()).embed(texts).vectors
    np.testing.assert_allclose(own, load_embedder(tmp_path / "shallow").embed(texts).vectors)
    assert len(found.label_indices) == len(texts)


def test_a_teacher_that_was_deleted(room: Room, tmp_path: Path) -> None:
    make_teacher("bert", tmp_path / "bert")
    room.registry.publish("bert", ModelKind.TEACHER, tmp_path / "bert")
    room.train(request_of("bert"))
    room.registry.delete_model("bert")
    asked = {"model": "models/sorter/versions/1", "data": {"examples": about(TEACHER_WORDS)}}
    with pytest.raises(FailedPrecondition) as caught:
        room.evaluate(asked)
    assert (caught.value.reason, caught.value.field) == ("ENCODER_DELETED", "model")
