from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from cost.ledger.support import START, estimate_of, measured_of, work_of
from google.protobuf import json_format

from stillroom.v1 import cost_service_pb2 as pb
from stillroom_registry.errors import InvalidArgument, NotFound
from stillroom_server.cost.figures import FIGURES
from stillroom_server.cost.ledger.accuracy import accuracy, summary
from stillroom_server.cost.ledger.ledger import KINDS, Ledger, Work
from stillroom_server.cost.ledger.scores import Pair


def message(said: dict[str, Any]) -> pb.GetEstimateAccuracyResponse:
    return json_format.ParseDict(said, pb.GetEstimateAccuracyResponse())


def test_a_summary_says_how_far_and_how_sure() -> None:
    pairs = [
        Pair(5.0, 10.0, 20.0, 10.0),  # right
        Pair(5.0, 10.0, 20.0, 11.5),  # a little low, within
        Pair(5.0, 10.0, 20.0, 40.0),  # far too low
        Pair(8.0, 10.0, 12.0, 5.0),  # too high
    ]
    said = summary(pairs)
    assert said["jobs"] == 4
    assert said["interval_coverage"] == 0.5
    assert said["underestimated_share"] == 0.5
    assert said["median_absolute_log_ratio"] == pytest.approx(
        (math.log(1.15) + math.log(2.0)) / 2.0
    )
    assert said["median_log_ratio"] == pytest.approx(math.log(1.15) / 2.0)
    assert said["median_interval_ratio"] == 4.0


def test_ten_percent_more_is_no_underestimate() -> None:
    assert summary([Pair(1.0, 10.0, 11.0, 11.0)])["underestimated_share"] == 0.0
    assert summary([Pair(1.0, 10.0, 11.0, 11.1)])["underestimated_share"] == 1.0


def test_the_width_is_left_out_where_a_lower_end_is_zero() -> None:
    assert "median_interval_ratio" not in summary([Pair(0.0, 1.0, 2.0, 1.0), Pair(1, 1, 2, 1)])


def test_coverage_counts_the_interval_that_was_told_beforehand(ledger: Ledger) -> None:
    """Twenty jobs outside of their intervals: today's interval would hold every one of them."""
    for at in range(20):
        ledger.record(work_of(10.0, 50.0, at=at))
    (wall,) = accuracy(ledger)["accuracies"]
    assert wall["interval_coverage"] == 0.0
    assert wall["intervals"] == {"from_ledger": True, "ledger_jobs": 20, "needed_jobs": 10}


def test_one_entry_a_kind_and_figure_as_the_protocol_has_it(ledger: Ledger) -> None:
    figures = {"wall_seconds": 10.0, "cpu_seconds": 8.0, "peak_memory_bytes": 1e9}
    for kind in ("push", "embed"):
        work = Work(
            kind, estimate_of(kind, **figures), measured_of(**figures), START, START, contention=1.0
        )
        ledger.record(work)
    ledger.record(work_of(kind="embed", succeeded=False))
    said = message(accuracy(ledger, page_size=10))
    assert [(each.kind, each.figure) for each in said.accuracies] == [
        ("embed", "cpu_seconds"),
        ("embed", "wall_seconds"),
        ("embed", "peak_memory_bytes"),
        ("push", "cpu_seconds"),
        ("push", "wall_seconds"),
        ("push", "peak_memory_bytes"),
    ]
    assert {each.figure for each in said.accuracies} <= set(FIGURES)
    assert all(each.jobs == 1 for each in said.accuracies)
    failed, embedded, pushed = said.entries
    assert not failed.succeeded
    assert not failed.HasField("contention")
    assert (embedded.kind, pushed.kind) == ("embed", "push")
    assert pushed.estimate.physical.total.wall_seconds.p50 == 10.0
    assert pushed.measured.cpu_seconds.basis == pb.COST_BASIS_MEASURED
    assert pushed.measured.money_usd.basis == pb.COST_BASIS_UNKNOWN
    assert pushed.contention == 1.0
    assert pushed.start_time.ToDatetime(tzinfo=START.tzinfo) == START


def test_entries_come_page_by_page_newest_first(ledger: Ledger) -> None:
    for number in range(5):
        ledger.record(work_of(took=1.0 + number, at=number))
    seen: list[float] = []
    token = ""
    while True:
        said = accuracy(ledger, kind="embed", page_size=2, page_token=token)
        assert len(said["accuracies"]) == 1
        seen += [entry["measured"]["wall_seconds"]["p50"] for entry in said["entries"]]
        token = said["next_page_token"]
        if not token:
            break
    assert seen == [5.0, 4.0, 3.0, 2.0, 1.0]


def test_without_a_page_size_only_the_summary(ledger: Ledger) -> None:
    assert accuracy(ledger) == {"accuracies": [], "entries": [], "next_page_token": ""}
    ledger.record(work_of())
    said = accuracy(ledger)
    assert (said["entries"], said["next_page_token"]) == ([], "")
    assert len(said["accuracies"]) == 1


def test_only_what_ended_in_time(ledger: Ledger) -> None:
    for at in (0, 100, 200):
        ledger.record(work_of(took=10.0, at=at))
    said = accuracy(ledger, start_time=START + timedelta(seconds=110), page_size=10)
    assert said["accuracies"][0]["jobs"] == 2
    assert len(said["entries"]) == 2


def test_one_operation(ledger: Ledger) -> None:
    ledger.record(work_of(took=20.0, operation="op-1"))
    ledger.record(work_of(took=30.0, operation="op-2"))
    said = accuracy(ledger, operation="operations/op-1", page_size=10)
    assert [entry["operation"] for entry in said["entries"]] == ["operations/op-1"]
    assert said["accuracies"][0]["median_log_ratio"] == pytest.approx(math.log(2.0))
    with pytest.raises(NotFound) as caught:
        accuracy(ledger, operation="operations/op-3")
    assert caught.value.field == "operation"
    assert caught.value.metadata == {"operation": "operations/op-3"}


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"kind": "juggle"}, "kind"),
        ({"page_size": -1}, "page_size"),
        ({"page_token": "what", "page_size": 1}, "page_token"),
        ({"page_token": "what"}, "page_token"),
    ],
)
def test_bad_questions_are_told_so(ledger: Ledger, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        accuracy(ledger, **asked)
    assert caught.value.field == field


def test_a_token_is_good_for_its_own_filters_alone(ledger: Ledger) -> None:
    for at in range(3):
        ledger.record(work_of(at=at))
    token = accuracy(ledger, kind="embed", page_size=1)["next_page_token"]
    for other in ({}, {"kind": "push"}, {"kind": "embed", "start_time": START}):
        with pytest.raises(InvalidArgument, match="page token"):
            accuracy(ledger, page_size=1, page_token=token, **other)


def test_every_kind_can_be_asked_for(ledger: Ledger) -> None:
    for kind in KINDS:
        assert accuracy(ledger, kind=kind)["accuracies"] == []
    ledger.record(work_of(kind="of_another_release"))
    assert accuracy(ledger, kind="of_another_release")["accuracies"][0]["jobs"] == 1
