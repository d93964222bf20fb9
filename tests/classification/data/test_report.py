"""The DataReport: how many of what, and that the protocol can hold it."""

from __future__ import annotations

from typing import Any

from classification.data.support import Choices, inline, single
from google.protobuf import json_format

from stillroom.v1 import classification_service_pb2 as pb
from stillroom_server.classification.data.prepared import prepare, prepare_evaluation
from stillroom_server.classification.data.report import data_report
from stillroom_server.classification.splits import split

MANY = single(
    *((f"text {i}", "ab"[i % 2]) for i in range(20)), ("alone", "c"), ("", "d"), ("text 0", "a")
)


def as_message(report: dict[str, Any]) -> pb.DataReport:
    return json_format.ParseDict(report, pb.DataReport())


def counts(message: pb.DataReport) -> dict[str, tuple[int, int]]:
    return {item.label: (item.training, item.validation) for item in message.label_counts}


def labels_of(message: pb.DataReport, kind: int) -> list[str]:
    return [label for issue in message.issues if issue.kind == kind for label in issue.labels]


def test_what_was_held_out() -> None:
    prepared = prepare(MANY, None, Choices())
    report = as_message(data_report(prepared, split(prepared.targets, {"held_out": 0.2}, 1)))
    assert report.example_count == 23
    assert report.training_count + report.validation_count == 22
    assert report.validation_source == pb.VALIDATION_SOURCE_HELD_OUT
    assert report.folds == 0
    assert counts(report) == {"a": (9, 2), "b": (8, 2), "c": (1, 0), "d": (0, 0)}
    assert labels_of(report, pb.DATA_ISSUE_KIND_RARE_LABEL) == ["c", "d"]
    assert [issue.kind for issue in report.issues] == sorted(issue.kind for issue in report.issues)
    assert report.digest == MANY.digest
    assert not report.validation_digest


def test_folds() -> None:
    prepared = prepare(MANY, None, Choices())
    report = as_message(data_report(prepared, split(prepared.targets, {"folds": 4}, 1)))
    assert report.validation_source == pb.VALIDATION_SOURCE_FOLDS
    assert (report.folds, report.training_count, report.validation_count) == (4, 22, 21)
    assert counts(report) == {"a": (11, 11), "b": (10, 10), "c": (1, 0), "d": (0, 0)}


def test_data_that_were_given() -> None:
    given = single(("u", "a"), ("v", "new"), ("w", "d"))
    prepared = prepare(MANY, given, Choices())
    report = as_message(data_report(prepared))
    assert report.validation_source == pb.VALIDATION_SOURCE_GIVEN
    assert (report.training_count, report.validation_count) == (22, 3)
    assert counts(report) == {
        **{"a": (11, 1), "b": (10, 0), "c": (1, 0)},
        **{"d": (0, 1), "new": (0, 1)},
    }
    assert labels_of(report, pb.DATA_ISSUE_KIND_RARE_LABEL) == ["b", "c", "d"]
    assert labels_of(report, pb.DATA_ISSUE_KIND_LABEL_ONLY_IN_VALIDATION) == ["d", "new"]
    assert report.validation_digest == given.digest != report.digest


def test_labels_that_chance_left_to_validation_alone() -> None:
    prepared = prepare(
        single(*((f"t{i}", "many") for i in range(20)), ("x", "one")), None, Choices()
    )
    scheme = {"held_out": 0.5, "unstratified": True}
    found = set()
    for seed in range(12):
        made = split(prepared.targets, scheme, seed)
        report = as_message(data_report(prepared, made))
        untrained = labels_of(report, pb.DATA_ISSUE_KIND_LABEL_ONLY_IN_VALIDATION)
        rare = labels_of(report, pb.DATA_ISSUE_KIND_RARE_LABEL)
        assert counts(report)["one"] == ((0, 1) if untrained else (1, 0))
        assert (untrained, rare) in ((["one"], []), ([], ["one"]))
        found.add(bool(untrained))
    assert found == {True, False}


def test_an_evaluation() -> None:
    data = inline([("x", ["a", "new"]), ("", []), ("z", ["a"])], multi_label=True)
    report = as_message(data_report(prepare_evaluation(data, ["a", "b"], multi_label=True)))
    assert report.validation_source == pb.VALIDATION_SOURCE_UNSPECIFIED
    assert (report.example_count, report.training_count, report.validation_count) == (3, 0, 3)
    assert counts(report) == {"a": (0, 2), "b": (0, 0), "new": (0, 1)}
    assert [issue.kind for issue in report.issues] == [
        pb.DATA_ISSUE_KIND_EMPTY_TEXT,
        pb.DATA_ISSUE_KIND_LABEL_UNKNOWN_TO_CLASSIFIER,
    ]
