"""From examples to targets: labels in order, repeated and blank texts, rare and unknown labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from classification.data.support import Choices, inline, refused, single

from stillroom_server.classification.data.prepared import (
    Prepared,
    note_tokens,
    prepare,
    prepare_evaluation,
)
from stillroom_server.classification.data.targets import label_order

MULTI = Choices(multi_label=True)


def issues_of(prepared: Prepared) -> dict[tuple[str, bool], dict[str, Any]]:
    """By kind and whether in separate validation data."""
    return {
        (
            issue["kind"].removeprefix("DATA_ISSUE_KIND_"),
            issue.get("in_validation_data", False),
        ): issue
        for issue in prepared.issues
    }


def test_labels_are_in_the_order_of_their_names_and_numbers() -> None:
    names = ["q10", "b", "q2", "q2a", "", "a1b2", "a1b10", "B", "q02", "10", "9"]
    assert label_order(names) == (
        "",
        "9",
        "10",
        "B",
        "a1b2",
        "a1b10",
        "b",
        "q02",
        "q2",
        "q2a",
        "q10",
    )
    assert label_order(reversed(names)) == label_order(names)


def test_targets_are_indices_of_the_labels() -> None:
    made = prepare(single(("one", "b"), ("two", "a"), ("three", "b")), None, Choices())
    assert made.labels == ("a", "b")
    assert made.targets.dtype == np.int64
    assert made.targets.tolist() == [1, 0, 1]
    assert made.kept.tolist() == [0, 1, 2]
    assert (made.validation_texts, made.validation_targets, made.issues) == (None, None, [])


def test_several_labels_are_a_table() -> None:
    data = inline([("one", ["b", "a"]), ("two", []), ("three", ["c"])], multi_label=True)
    made = prepare(data, None, MULTI)
    assert made.targets.dtype == np.bool_
    assert made.targets.tolist() == [[True, True, False], [False] * 3, [False, False, True]]


def test_empty_texts_are_kept_out_and_counted() -> None:
    data = single(("", "a"), ("one", "a"), (" \n", "c"), ("two", "b"))
    made = prepare(data, None, Choices())
    assert made.texts == ["one", "two"]
    assert made.kept.tolist() == [1, 3]
    assert (made.labels, made.lost) == (("a", "b"), ("c",))
    issue = issues_of(made)["EMPTY_TEXT", False]
    assert (issue["count"], issue["examples"]) == (2, [0, 2])


def test_repeated_texts_are_counted_and_used() -> None:
    data = single(("x", "a"), ("y", "b"), ("x", "a"), ("x", "a"), ("", "a"), ("", "b"))
    made = prepare(data, None, Choices())
    assert made.texts == ["x", "y", "x", "x"]
    found = issues_of(made)
    assert set(found) == {("DUPLICATE_TEXT", False), ("EMPTY_TEXT", False)}
    assert found["DUPLICATE_TEXT", False]["examples"] == [2, 3]


CONFLICTING = (("x", "b"), ("y", "a"), ("x", "a"), ("z", "b"), ("x", "a"), ("y", "b"), ("w", "a"))


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("keep", [0, 1, 2, 3, 4, 5, 6]),
        ("majority", [1, 2, 3, 4, 6]),  # of y, the first
        ("drop", [3, 6]),
    ],
)
def test_texts_with_different_labels(policy: str, kept: list[int]) -> None:
    made = prepare(single(*CONFLICTING), None, Choices(conflicts=policy))
    assert made.kept.tolist() == kept
    assert made.texts == [CONFLICTING[index][0] for index in kept]
    issue = issues_of(made)["CONFLICTING_LABELS", False]
    assert (issue["count"], issue["examples"]) == (5, [0, 1, 2, 4, 5])


def test_texts_with_different_labels_can_be_refused() -> None:
    options = Choices(conflicts="refuse")
    error = refused("CONFLICTING_LABELS", lambda: prepare(single(*CONFLICTING), None, options))
    assert error.field == "data"
    assert "'a' and 'b'" in error.message
    assert error.metadata["examples"] == "0,1,2,4,5"
    assert len(prepare(single(("x", "a"), ("x", "a"), ("y", "b")), None, options)) == 3


@pytest.mark.parametrize("policy", ["majority", "drop", "refuse"])
def test_several_labels_never_conflict_but_are_counted(policy: str) -> None:
    data = inline([("x", ["a", "b"]), ("x", ["b", "a"]), ("y", ["a"]), ("y", [])], multi_label=True)
    made = prepare(data, None, Choices(multi_label=True, conflicts=policy))
    assert len(made) == 4
    found = issues_of(made)
    assert found["DUPLICATE_TEXT", False]["examples"] == [1]
    assert found["CONFLICTING_LABELS", False]["examples"] == [2, 3]


@pytest.mark.parametrize(
    ("data", "options", "reason"),
    [
        (single(("x", "a"), ("y", "a")), Choices(), "SINGLE_CLASS"),
        (single(("x", "a"), ("", "b")), Choices(), "SINGLE_CLASS"),
        (single(("", "a"), (" ", "b")), Choices(), "NO_DATA"),
        (single(("x", "a"), ("x", "b")), Choices(conflicts="drop"), "NO_DATA"),
        (inline([("x", ["a"]), ("y", [])], multi_label=True), MULTI, "SINGLE_CLASS"),
        (inline([("x", []), ("y", [])], multi_label=True), MULTI, "SINGLE_CLASS"),
    ],
)
def test_what_cannot_be_learned_is_refused(data: Any, options: Choices, reason: str) -> None:
    assert refused(reason, lambda: prepare(data, None, options)).field == "data"


def test_separate_validation_data_stay_as_they_are() -> None:
    train = single(("x", "a"), ("y", "b"), ("z", "c"))
    given = single(("x", "a"), ("", "b"), ("new", "d"), ("new", "d"), ("u", "B"), ("v", "c"))
    made = prepare(train, given, Choices())
    assert made.validation_texts == given.texts
    assert made.validation_targets is not None
    assert made.validation_targets.tolist() == [0, 1, -1, -1, -1, 2]
    assert made.unknown_counts == {"B": 1, "d": 2}
    found = issues_of(made)
    assert set(found) == {
        ("DUPLICATE_TEXT", True),
        ("TRAINING_TEXT_IN_VALIDATION", True),
        ("EMPTY_TEXT", True),
        ("LABEL_ONLY_IN_VALIDATION", False),
    }
    assert found["TRAINING_TEXT_IN_VALIDATION", True]["examples"] == [0]
    assert found["LABEL_ONLY_IN_VALIDATION", False] == {
        "kind": "DATA_ISSUE_KIND_LABEL_ONLY_IN_VALIDATION",
        "count": 2,
        "labels": ["B", "d"],
    }


def test_separate_validation_data_with_several_labels() -> None:
    train = inline([("x", ["a"]), ("y", ["b"])], multi_label=True)
    given = inline([("u", ["b", "new"]), ("v", [])], multi_label=True)
    made = prepare(train, given, MULTI)
    assert made.validation_targets is not None
    assert made.validation_targets.tolist() == [[False, True], [False, False]]


def test_an_evaluation_measures_everything() -> None:
    data = single(("x", "b"), ("", "a"), ("y", "new"), ("x", "a"))
    made = prepare_evaluation(data, ["b", "a"], multi_label=False)
    assert made.labels == ("b", "a")
    assert made.targets.tolist() == [0, 1, -1, 1]
    assert made.kept.tolist() == [0, 1, 2, 3]
    found = issues_of(made)
    assert set(found) == {
        ("CONFLICTING_LABELS", False),
        ("EMPTY_TEXT", False),
        ("LABEL_UNKNOWN_TO_CLASSIFIER", False),
    }
    assert prepare_evaluation(single(("x", "b")), ["a", "b"], multi_label=False).issues == []


def flags(count: int, *true: int) -> Any:
    made = np.zeros(count, dtype=np.bool_)
    made[list(true)] = True
    return made


def test_texts_without_a_known_token_are_kept_out() -> None:
    data = single(("", "a"), ("x", "a"), ("?", "b"), ("y", "c"), ("z", "c"))
    given = single(("u", "b"), ("v", "c"), ("w", "a"))
    made = note_tokens(
        prepare(data, given, Choices()),
        unknown=flags(4, 1),
        truncated=flags(4, 3),
        validation_unknown=flags(3, 0),
        validation_truncated=flags(3, 1, 2),
    )
    assert made.texts == ["x", "y", "z"]
    assert made.kept.tolist() == [1, 3, 4]
    assert (made.labels, made.lost) == (("a", "c"), ("b",))
    assert made.targets.tolist() == [0, 1, 1]
    assert made.validation_targets is not None
    assert made.validation_targets.tolist() == [-1, 1, 0]
    assert made.unknown_counts == {"b": 1}
    found = issues_of(made)
    assert found["ALL_UNKNOWN_TEXT", False]["examples"] == [2]
    assert found["TRUNCATED_TEXT", False]["examples"] == [4]
    assert found["ALL_UNKNOWN_TEXT", True]["examples"] == [0]
    assert found["TRUNCATED_TEXT", True]["count"] == 2
    assert found["LABEL_ONLY_IN_VALIDATION", False]["labels"] == ["b"]


def test_columns_go_with_the_last_text_that_has_the_label() -> None:
    data = inline([("x", ["a", "b"]), ("?", ["c"]), ("y", ["b", "d"])], multi_label=True)
    made = note_tokens(prepare(data, None, MULTI), unknown=flags(3, 1), truncated=flags(3))
    assert made.labels == ("a", "b", "d")
    assert made.targets.tolist() == [[True, True, False], [False, True, True]]


def test_an_evaluation_keeps_texts_without_a_known_token() -> None:
    made = prepare_evaluation(single(("x", "a"), ("?", "b")), ["a", "b"], multi_label=False)
    noted = note_tokens(made, unknown=flags(2, 1), truncated=flags(2))
    assert len(noted) == 2
    assert issues_of(noted)["ALL_UNKNOWN_TEXT", False]["examples"] == [1]


def test_too_few_labels_after_unknown_texts_are_refused() -> None:
    made = prepare(single(("x", "a"), ("?", "b")), None, Choices())
    refused("SINGLE_CLASS", lambda: note_tokens(made, unknown=flags(2, 1), truncated=flags(2)))


def test_long_lists_of_issues_are_cut() -> None:
    data = single(*((" ", "a") for _ in range(50)), ("x", "a"), ("y", "b"))
    given = single(*((f"t{i}", f"new {i}") for i in range(200)))
    found = issues_of(prepare(data, given, Choices()))
    empty = found["EMPTY_TEXT", False]
    assert (empty["count"], empty["examples"]) == (50, list(range(10)))
    only = found["LABEL_ONLY_IN_VALIDATION", False]
    assert (only["count"], only["labels"]) == (200, [f"new {i}" for i in range(100)])
