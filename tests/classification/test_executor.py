"""Training as an operation: from labeled texts to a classifier that is registered and measured."""

from __future__ import annotations

import errno
import itertools
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from classification.contexts import Context
from classification.room import TOPICS, Room, asking, multiple, single
from google.protobuf import json_format

from stillroom.v1 import classification_service_pb2 as pb
from stillroom_registry.errors import (
    Aborted,
    Cancelled,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from stillroom_registry.publishing import check_metadata
from stillroom_registry.registry import ModelKind
from stillroom_server.classification.executor import metadata_of
from stillroom_server.classification.job import Made

LABELS = sorted(TOPICS)
FILES = {
    *("report.html", "README.md", "stillroom.json", "classifier.json", "classifier.safetensors"),
    *("onnx/classifier.onnx", "config.json", "tokenizer.json", "model.safetensors"),
}


def test_a_classifier_is_published_together_with_the_success(room: Room) -> None:
    context = room.context()
    result = room.train(asking(description="for a test", labels={"team": "still"}), context)
    version = room.registry.resolve("sorter")
    assert context.results == [json.loads(json.dumps(result))]
    assert result["model_version"] == version.name == "models/sorter/versions/1"
    assert version.kind is ModelKind.CLASSIFIER
    assert version.parents == ("models/tiny/versions/1",)
    assert {file.path for file in version.files} >= FILES
    model = room.registry.get_model("sorter")
    assert (model.description, dict(model.labels)) == ("for a test", {"team": "still"})
    described = result["classifier"]
    assert described["labels"] == LABELS
    assert described["encoder_version"] == "models/tiny/versions/1"
    assert described["dimensions"] == 24
    assert described["temperature"] > 0
    assert "thresholds" not in described or described["thresholds"] == []
    assert version.metadata["classifier"] == described
    assert "report" not in version.metadata  # that is a student's
    made = version.metadata["provenance"]
    assert made["corpora"] == {"texts": result["data"]["digest"]}
    assert made["sources"] == {version.parents[0]: room.registry.resolve("tiny").digest}
    assert made["seed"] == described["options"]["seed"]
    (edge,) = room.registry.lineage("sorter").edges
    assert (edge.parent, edge.relation) == (version.parents[0], "train")
    assert list(dict.fromkeys(context.phases)) == context.expected


def test_the_whole_report_is_told(room: Room) -> None:
    result = room.train(asking(single(12)))
    report, data, training = result["report"], result["data"], result["training"]
    assert report["accuracy"] > 0.8
    assert report["calibration"]["fitted_here"] is True
    assert report["calibration"]["uncalibrated_error"] >= 0
    assert data["example_count"] == 36
    assert [count["label"] for count in data["label_counts"]] == LABELS
    assert data["digest"].startswith("sha256:")
    assert data["validation_count"] == report["example_count"] > 0
    assert sum(candidate.get("chosen", False) for candidate in training["candidates"]) == 1
    assert training["onnx_parity"]["runs"] > 1
    assert training["onnx_parity"].get("label_disagreements", 0) == 0
    assert {"data", "encode", "train", "write", "verify"} <= set(training["seconds"])
    folder = room.folder()
    page = (folder / "report.html").read_text()
    assert "<svg" in page
    assert "nature" in page
    assert "nature" in (folder / "README.md").read_text()
    manifest = json.loads((folder / "stillroom.json").read_text())
    assert manifest["kind"] == "classifier"
    assert set(manifest["files"]) == {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    } - {"stillroom.json"}


def test_a_multi_label_classifier(room: Room) -> None:
    options = {"task": "CLASSIFICATION_TASK_MULTI_LABEL"}
    result = room.train(asking(multiple(12), options=options))
    described = result["classifier"]
    assert described["task"] == "CLASSIFICATION_TASK_MULTI_LABEL"
    assert len(described["thresholds"]) == len(LABELS)
    assert all(0 < threshold < 1 for threshold in described["thresholds"])
    check_shapes(result)
    assert "confusion" not in result["report"]
    assert result["report"]["micro_f1"] > 0.6


def test_validation_data_of_its_own(room: Room) -> None:
    """Labels that occur only there are errors, not crashes."""
    own = [*single(3, seed=5), ["the hospital and the elephant", ["elsewhere"]]]
    result = room.train(asking(validation_data={"examples": own}))
    check_shapes(result)
    report, data = result["report"], result["data"]
    assert result["classifier"]["labels"] == LABELS
    assert data["validation_source"] == "VALIDATION_SOURCE_GIVEN"
    assert data["validation_digest"] != data["digest"]
    assert report["example_count"] == len(own)
    assert [label["label"] for label in report["labels"]] == [*LABELS, "elsewhere"]
    assert "log_loss" not in report
    kinds = {issue["kind"] for issue in data["issues"]}
    assert "DATA_ISSUE_KIND_LABEL_ONLY_IN_VALIDATION" in kinds


@pytest.mark.parametrize("scheme", [{"held_out": 0.25}, {"folds": 3}])
def test_a_split_is_as_asked(room: Room, scheme: dict[str, Any]) -> None:
    data = room.train(asking(validation_split=scheme))["data"]
    if "folds" in scheme:
        assert (data["validation_source"], data["folds"]) == ("VALIDATION_SOURCE_FOLDS", 3)
        assert data["training_count"] == data["validation_count"] == 24
    else:
        assert data["validation_source"] == "VALIDATION_SOURCE_HELD_OUT"
        assert (data["training_count"], data["validation_count"]) == (18, 6)


def test_odd_texts_are_reported(room: Room) -> None:
    odd = [["", ["nature"]], ["日本 語語", ["people"]], ["sunlight river", ["things"]]]
    odd += [["sunlight river", ["nature"]], ["only once", ["rare"]]]
    data = room.train(asking([*single(), *odd]))["data"]
    kinds = {issue["kind"].removeprefix("DATA_ISSUE_KIND_") for issue in data["issues"]}
    assert {"EMPTY_TEXT", "ALL_UNKNOWN_TEXT", "CONFLICTING_LABELS", "RARE_LABEL"} <= kinds
    assert data["example_count"] == 29


def test_the_same_request_and_seed_give_the_same_bytes(room: Room) -> None:
    room.train()
    room.train()
    first, second = (room.registry.get_version("sorter", number) for number in (1, 2))
    assert first.files == second.files
    room.train(asking(options={"seed": "7"}))
    assert room.registry.get_version("sorter", 3).files != second.files


@pytest.mark.parametrize(
    "options",
    [
        {"linear": {"solver": "LINEAR_SOLVER_CLOSED_FORM"}},
        {"linear": {"solver": "LINEAR_SOLVER_LBFGS", "l2": 0.01}},
        {"linear": {"solver": "LINEAR_SOLVER_GRADIENT"}, "max_epochs": 3},
        {"mlp": {"hidden_sizes": [16]}, "max_epochs": 3},
        {
            "encoder_tuning": {"mode": "ENCODER_TUNING_MODE_TABLE_AND_TOKEN_WEIGHTS"},
            "max_epochs": 3,
        },
        {"ngrams": {"mode": "NGRAM_MODE_ON", "max_n": 3}},
        {"class_weighting": "CLASS_WEIGHTING_BALANCED", "calibration": "CALIBRATION_METHOD_NONE"},
        {"encoding": {"dimensions": 8, "max_tokens": 5}},
    ],
    ids=lambda options: next(iter(options)),
)
def test_what_was_asked_for_is_what_comes(room: Room, options: dict[str, Any]) -> None:
    result = room.train(asking(options=options))
    check_shapes(result)
    found = result["classifier"]["options"]
    for name, value in options.items():
        if isinstance(value, dict):
            assert {key: found[name][key] for key in value} == value
        else:
            assert found[name] == value
    check_shapes(room.evaluate({"model": "sorter", "data": {"examples": single(2)}}))


def check_shapes(result: dict[str, Any]) -> None:
    """What executors tell is JSON of the protocol's messages, with nothing more in it."""
    kinds = {
        "classifier": pb.ClassifierDescription,
        "report": pb.ClassificationReport,
        "data": pb.DataReport,
        "training": pb.TrainingReport,
    }
    assert set(result) <= {"model_version", *kinds}
    for name, kind in kinds.items():
        if name in result:
            json_format.ParseDict(json.loads(json.dumps(result[name])), kind())


def test_very_many_labels_fit_the_metadata_of_a_version() -> None:
    labels = [f"{number} {'é' * 120}" for number in range(10_000)]
    description = {
        "labels": labels,
        "thresholds": [0.123456789] * len(labels),
        "options": {"seed": "0", "class_weights": {"values": dict.fromkeys(labels, 2.0)}},
    }
    report = {"accuracy": 1.0, "calibration": {"expected_calibration_error": 0.0}}
    found = metadata_of(Made(description, report, {"digest": "sha256:0"}, {}))
    check_metadata(found)
    shown = found["classifier"]
    assert found["label_count"] == len(labels)
    assert shown["labels"] == labels[: len(shown["thresholds"])]
    assert len(shown["labels"]) > 100
    assert shown["options"] == {"seed": "0"}
    assert description["labels"] is labels


# Bad input and bad luck


def test_a_lost_lease_publishes_nothing(room: Room) -> None:
    context = room.context()
    context.lease_lost = True
    with pytest.raises(Aborted):
        room.train(context=context)
    assert not room.has()


def test_an_encoder_that_is_a_classifier(room: Room) -> None:
    room.train()
    with pytest.raises(FailedPrecondition) as caught:
        room.train(asking(encoder="models/sorter/versions/1", name="other"))
    assert (caught.value.reason, caught.value.field) == ("ENCODER_IS_CLASSIFIER", "encoder")


def test_a_name_of_another_kind(room: Room) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        room.train(asking(name="tiny"))
    assert (caught.value.reason, caught.value.field) == ("KIND_MISMATCH", "name")


class DeletesIn(Context):
    """In whose ``phase`` somebody deletes the encoder, for good."""

    def __init__(self, workspace: Path, room: Room, phase: str) -> None:
        super().__init__(workspace)
        self._room = room
        self._phase = phase

    def progress(self, phase: str, *numbers: int, unit: str, message: str = "") -> None:
        super().progress(phase, *numbers, unit=unit, message=message)
        if phase == self._phase and self._room.has("tiny"):
            self._room.registry.delete_version("tiny", 1)
            self._room.registry.collect_garbage(
                grace=timedelta(0), now=datetime.now(UTC) + timedelta(hours=2)
            )


@pytest.mark.parametrize("phase", ["data", "train", "publish"])
def test_an_encoder_that_is_deleted_meanwhile(room: Room, phase: str) -> None:
    workspace = room.context().workspace
    with pytest.raises(NotFound) as caught:
        room.train(context=DeletesIn(workspace, room, phase))
    assert caught.value.field == "encoder"
    assert caught.value.metadata["name"] == "models/tiny/versions/1"
    assert not room.has()


def test_an_encoder_that_is_not_there(room: Room) -> None:
    with pytest.raises(NotFound) as caught:
        room.train(asking(encoder="models/nobody/versions/1"))
    assert caught.value.field == "encoder"


def test_one_label_is_no_choice(room: Room) -> None:
    with pytest.raises(InvalidArgument) as caught:
        room.train(asking([["the river", ["nature"]], ["a mountain", ["nature"]]]))
    assert caught.value.reason == "SINGLE_CLASS"
    assert caught.value.field is not None
    assert caught.value.field.startswith("data")
    assert not room.has()


def test_a_file_that_changes_while_it_is_copied(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = room.root / "data.csv"
    rows = [f"{text},{labels[0]}" for text, labels in single()]
    path.write_text("\n".join(["text,label", *rows]) + "\n")

    class Touches(Context):
        def progress(self, phase: str, *numbers: int, unit: str, message: str = "") -> None:
            super().progress(phase, *numbers, unit=unit, message=message)
            with path.open("a") as stream:
                stream.write("one more river,nature\n")

    with pytest.raises(Aborted) as caught:
        room.train(asking() | {"data": {"path": str(path)}}, Touches(room.context().workspace))
    assert caught.value.reason == "DATA_CHANGED"
    room.train(asking() | {"data": {"path": str(path)}})
    assert room.has()


def test_weights_of_a_label_that_is_not_there(room: Room) -> None:
    options = {"class_weights": {"values": {"nobody": 2.0}}}
    with pytest.raises(InvalidArgument, match="no such label"):
        room.train(asking(options=options))


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("encoder", {"encoder": None}),
        ("name", {"name": "No Such Name"}),
        ("data", {"data": None}),
        ("data", {"data": {}}),
        ("data.examples", {"data": {"examples": []}}),
        ("options.focal_gamma", {"options": {"focal_gamma": 11}}),
        ("options.seed", {"options": {"seed": "-1"}}),
        ("report_options.calibration_bins", {"report_options": {"calibration_bins": 1}}),
        ("report_options.include_html", {"report_options": {"include_html": True}}),
        ("budget.seconds", {"budget": {"seconds": 0}}),
        ("validation_data", {"validation_split": {}, "validation_data": {"examples": single(1)}}),
    ],
)
def test_requests_are_checked(room: Room, field: str, changes: dict[str, Any]) -> None:
    context = room.context()
    with pytest.raises(InvalidArgument) as caught:
        room.train({**asking(), **changes}, context)
    assert caught.value.field == field
    assert context.phases == []


@pytest.mark.parametrize("solver", ["LBFGS", "GRADIENT"])
def test_a_loss_that_is_no_number(room: Room, solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever made it so: what the registry takes of students cannot."""
    from stillroom_server.classification.training.losses import Loss

    real, calls = Loss.gradient, []

    def spoiled(self: Loss, *given: Any) -> Any:
        calls.append(given)
        value, slopes = real(self, *given)
        return (value if len(calls) < 3 else math.nan), slopes

    monkeypatch.setattr(Loss, "gradient", spoiled)
    options = {"linear": {"solver": f"LINEAR_SOLVER_{solver}"}}
    with pytest.raises(Internal) as caught:
        room.train(asking(options=options))
    assert caught.value.reason == "LOSS_NOT_FINITE"
    assert not room.has()


def test_the_example_that_may_not_be_cut_is_named(room: Room) -> None:
    options = {"encoding": {"truncate": False, "max_tokens": 12}}
    long = ["the river " * 10, ["nature"]]
    with pytest.raises(InvalidArgument, match="example 26: ") as caught:
        room.train(
            asking([*single(), ["", ["nature"]], ["a river", ["nature"]], long], options=options)
        )
    assert (caught.value.reason, caught.value.field) == ("TEXT_TOO_LONG", "data")


def test_a_time_budget_ends_the_training_not_the_operation(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at the clock costs half a second."""
    from stillroom_server.classification import recipe

    ticks, train = itertools.count(0.0, 0.5), recipe.train

    def timed(*given: Any, clock: object) -> Any:
        return train(*given, clock=lambda: next(ticks))

    monkeypatch.setattr(recipe, "train", timed)
    options = {
        "linear": {"solver": "LINEAR_SOLVER_GRADIENT"},
        "max_epochs": 10_000,
        "early_stopping": {"disabled": True},
        "time_budget_seconds": 30.0,
    }
    result = room.train(asking(options=options))
    assert result["training"]["end"] == "TRAINING_END_TIME_BUDGET"
    assert result["report"]["accuracy"] > 0.5


def test_a_full_disk_is_said_plainly(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    from stillroom_server.classification import recipe

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "write_classifier", full)
        with pytest.raises(ResourceExhausted) as caught:
            room.train()
    assert caught.value.reason == "DISK_FULL"
    assert not room.has()


def test_what_a_cancelled_one_leaves_does_not_stand_in_the_way(room: Room) -> None:
    context = room.context()
    context.cancelled_in = "verify"
    with pytest.raises(Cancelled):
        room.attempt(asking(), context)
    context.cancelled_in = ""
    room.train(context=context)
    assert room.registry.resolve("sorter").version == 1
