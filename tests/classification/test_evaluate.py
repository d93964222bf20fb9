"""Measuring a classifier on labeled texts, as an operation that changes no model."""

from __future__ import annotations

from typing import Any

import pytest
from classification.room import TOPICS, Room, asking, multiple, single

from stillroom_registry.errors import (
    Cancelled,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from stillroom_server.inference.classifier.classifier import Classifier

LABELS = sorted(TOPICS)
MULTI = {"task": "CLASSIFICATION_TASK_MULTI_LABEL"}


def measuring(examples: list[list[Any]] | None = None, **more: Any) -> dict[str, Any]:
    data = {"examples": single(5, seed=3) if examples is None else examples}
    return {"model": "models/sorter/versions/1", "data": data, **more}


def test_the_figures_are_those_of_what_is_served(room: Room) -> None:
    room.train()
    examples = single(9, seed=3)
    context = room.context()
    result = room.evaluate(measuring(examples), context)
    served = Classifier.load(room.folder())
    found = served.classify([text for text, _ in examples])
    given = [LABELS[index] for index in found.label_indices]
    right = [name == labels[0] for name, (_, labels) in zip(given, examples, strict=True)]
    report = result["report"]
    assert result["model_version"] == "models/sorter/versions/1"
    assert report["example_count"] == len(examples)
    assert report["accuracy"] == pytest.approx(sum(right) / len(right))
    assert report["calibration"]["fitted_here"] is False
    answered = 1.0 if found.abstained is None else 1 - found.abstained.mean()
    assert report["abstention"]["coverage"] == pytest.approx(answered)
    assert report["abstention"]["threshold"] == served.description.abstention_threshold
    assert result["data"]["validation_count"] == len(examples)
    assert "html" not in result
    assert list(dict.fromkeys(context.phases)) == context.expected
    assert room.registry.get_model("sorter").latest_version == 1


def test_what_the_classifier_does_not_know_is_an_error(room: Room) -> None:
    room.train()
    odd = [["the river", ["geology"]], ["", ["nature"]], ["日本 語語", ["people"]]]
    result = room.evaluate(measuring([*single(2, seed=3), *odd]))
    report = result["report"]
    assert report["example_count"] == 9
    assert [label["label"] for label in report["labels"]] == [*LABELS, "geology"]
    assert report["labels"][-1]["false_negatives"] == 1
    assert "log_loss" not in report
    kinds = {issue["kind"].removeprefix("DATA_ISSUE_KIND_") for issue in result["data"]["issues"]}
    assert kinds == {"LABEL_UNKNOWN_TO_CLASSIFIER", "EMPTY_TEXT", "ALL_UNKNOWN_TEXT"}
    assert report["abstention"]["coverage"] <= 7 / 9


def test_one_label_is_enough(room: Room) -> None:
    room.train()
    report = room.evaluate(measuring([["the river", ["nature"]]]))["report"]
    assert report["example_count"] == 1


def test_options_decide_what_is_measured(room: Room) -> None:
    room.train(asking(multiple(12), options=MULTI))
    examples = multiple(4, seed=9)
    own = room.evaluate(measuring(examples))["report"]
    none = room.evaluate(measuring(examples, options={"threshold": 1.0}))["report"]
    assert own["labels"][0]["threshold"] < 1
    assert all(label["threshold"] == 1 for label in none["labels"])
    assert sum(label["true_positives"] for label in none["labels"]) == 0
    sure = room.evaluate(measuring(examples, options={"abstention_threshold": 1.0}))["report"]
    assert sure["abstention"]["threshold"] == 1
    assert sure["abstention"]["coverage"] < own["abstention"]["coverage"] + 1e-9


def test_the_page_if_it_is_asked_for(room: Room) -> None:
    room.train()
    html = room.evaluate(measuring(report_options={"include_html": True}))["html"]
    assert html.startswith("<!")
    assert "nature" in html


def test_a_file_of_examples(room: Room) -> None:
    room.train()
    path = room.root / "test.tsv"
    path.write_text("label\ttext\n" + "".join(f"{names[0]}\t{text}\n" for text, names in single(3)))
    report = room.evaluate(measuring(data={"path": str(path)}))["report"]
    assert report["example_count"] == 9


@pytest.mark.parametrize(
    ("error", "field", "changes"),
    [
        (NotFound, "model", {"model": "models/nobody/versions/1"}),
        (FailedPrecondition, "model", {"model": "models/tiny/versions/1"}),
        (InvalidArgument, "data", {"data": {}}),
        (InvalidArgument, "options.top_k", {"options": {"top_k": 3}}),
        (InvalidArgument, "options.threshold", {"options": {"threshold": 0.5}}),
        (InvalidArgument, "options.abstention_threshold", {"options": {"abstention_threshold": 2}}),
        (
            InvalidArgument,
            "report_options.confused_pairs",
            {"report_options": {"confused_pairs": -1}},
        ),
    ],
)
def test_requests_are_checked(
    room: Room, error: type[Exception], field: str, changes: dict[str, Any]
) -> None:
    room.train()
    with pytest.raises(error) as caught:
        room.evaluate({**measuring(), **changes})
    assert getattr(caught.value, "field", None) == field


def test_a_text_that_may_not_be_cut(room: Room) -> None:
    room.train(asking(options={"encoding": {"max_tokens": 6}}))
    long = [["the river and the mountain and the sunlight", ["nature"]]]
    report = room.evaluate(measuring(long))
    assert report["data"]["issues"][0]["kind"] == "DATA_ISSUE_KIND_TRUNCATED_TEXT"
    with pytest.raises(InvalidArgument) as caught:
        room.evaluate(measuring(long, options={"truncate": False}))
    assert (caught.value.reason, caught.value.field) == ("TEXT_TOO_LONG", "data")


def test_it_can_be_cancelled(room: Room) -> None:
    room.train()
    for phase in ("data", "encode", "classify", "report"):
        context = room.context()
        context.cancelled_in = phase
        with pytest.raises(Cancelled):
            room.evaluate(measuring(), context)


def test_a_model_that_is_deleted_meanwhile(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.train()
    real = room.registry.folder

    def deleted(version: Any) -> Any:
        room.registry.delete_version("sorter", 1)
        return real(version) / "gone"

    monkeypatch.setattr(room.registry, "folder", deleted)
    with pytest.raises(NotFound) as caught:
        room.evaluate(measuring())
    assert (caught.value.reason, caught.value.field) == ("MODEL_DELETED", "model")


def test_memory_that_does_not_suffice(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    from stillroom_server.classification import scores

    room.train()

    def short(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(scores, "scores_of", short)
    with pytest.raises(ResourceExhausted) as caught:
        room.evaluate(measuring())
    assert caught.value.reason == "OUT_OF_MEMORY"
