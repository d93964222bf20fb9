from __future__ import annotations

import json
import math
from typing import Any

import pytest

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.distillation.fidelity.gate import FidelityTooLow, MinimumFidelity
from stillroom_server.operations.model import OperationError

REPORT = {
    "mean_cosine": 0.8,
    "similarity_spearman": 0.7,
    "recall_at_10": None,
    "prefixes": [{"dimensions": 32, "similarity_spearman": 0.5}],
    "distribution": {"cosines": {"counts": [1] * 40}},
}


@pytest.mark.parametrize(
    "value",
    [None, {}, {"mean_cosine": 0.8}, {"mean_cosine": -1, "similarity_spearman": 0.7}],
)
def test_what_is_reached_passes(value: Any) -> None:
    MinimumFidelity.from_json(value).check(REPORT)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"mean_cosine": 0.81}, "mean_cosine is 0.8, asked for 0.81"),
        ({"similarity_spearman": 1}, "similarity_spearman is 0.7, asked for 1"),
        ({"recall_at_10": 0}, "recall_at_10 is not measured, asked for 0"),
    ],
)
def test_what_is_not_reached_or_not_measured_fails(value: Any, said: str) -> None:
    with pytest.raises(FidelityTooLow, match=said):
        MinimumFidelity.from_json(value).check(REPORT)


def test_the_report_survives_being_stored_with_the_error() -> None:
    asked = MinimumFidelity.from_json({"mean_cosine": 0.9, "similarity_spearman": 0.1})
    with pytest.raises(FailedPrecondition) as caught:
        asked.check(REPORT)
    assert caught.value.report == REPORT  # type: ignore[attr-defined]
    again = OperationError.from_error(caught.value).to_error()
    assert isinstance(again, FailedPrecondition)
    assert again.reason == "FIDELITY_TOO_LOW"
    assert again.field == "minimum_fidelity"
    report = json.loads(again.metadata.pop("report"))
    assert report == {key: value for key, value in REPORT.items() if key != "distribution"}
    assert again.metadata == {
        "mean_cosine_asked": "0.9",
        "mean_cosine_measured": "0.8",
        "similarity_spearman_asked": "0.1",
        "similarity_spearman_measured": "0.7",
    }
    assert "similarity" not in again.message


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ([], "minimum_fidelity"),
        ("0.9", "minimum_fidelity"),
        ({"cosine": 0.9}, "minimum_fidelity.cosine"),
        ({"mean_cosine": "0.9"}, "minimum_fidelity.mean_cosine"),
        ({"mean_cosine": True}, "minimum_fidelity.mean_cosine"),
        ({"mean_cosine": math.nan}, "minimum_fidelity.mean_cosine"),
        ({"mean_cosine": 1.01}, "minimum_fidelity.mean_cosine"),
        ({"similarity_spearman": -1.01}, "minimum_fidelity.similarity_spearman"),
        ({"similarity_spearman": math.inf}, "minimum_fidelity.similarity_spearman"),
        ({"recall_at_10": -0.01}, "minimum_fidelity.recall_at_10"),
    ],
)
def test_demands_that_make_no_sense_are_refused(value: Any, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        MinimumFidelity.from_json(value)
    assert caught.value.field == field


def test_demands_survive_json() -> None:
    asked = MinimumFidelity(mean_cosine=0.5, recall_at_10=0)
    assert asked.to_json() == {"mean_cosine": 0.5, "recall_at_10": 0}
    assert MinimumFidelity.from_json(asked.to_json()) == asked
