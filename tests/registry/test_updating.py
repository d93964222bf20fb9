"""Changing what is said about a model, and only by who knows what it says now."""

from __future__ import annotations

from typing import Any

import pytest

from stillroom_registry.errors import Aborted, InvalidArgument, NotFound
from stillroom_registry.registry import ModelKind, Registry


@pytest.fixture
def named(registry: Registry, make_folder: Any) -> Registry:
    registry.publish(
        "m", ModelKind.STUDENT, make_folder(n=b"1"), description="d", labels={"a": "b"}
    )
    return registry


def said(registry: Registry) -> tuple[str, dict[str, str]]:
    model = registry.get_model("m")
    return model.description, dict(model.labels)


def test_what_is_given_is_replaced_and_the_rest_stays(named: Registry, clock: Any) -> None:
    before = named.get_model("m")
    clock.advance(60)
    after = named.update_model("m", description="new")
    assert (said(named), after.etag != before.etag) == (("new", {"a": "b"}), True)
    assert (after.create_time, after.update_time) == (before.create_time, clock.now)
    assert named.update_model("m", labels={"c": "d", "e": ""}) == named.get_model("m")
    assert said(named) == ("new", {"c": "d", "e": ""})
    named.update_model("m", description="", labels={})
    assert said(named) == ("", {})


def test_what_is_so_already_is_no_change(named: Registry, clock: Any) -> None:
    before = named.get_model("m")
    clock.advance(60)
    assert named.update_model("m", description="d", labels={"a": "b"}) == before
    assert named.update_model("m") == before


def test_an_old_etag_is_refused(named: Registry) -> None:
    etag = named.get_model("m").etag
    newer = named.update_model("m", description="mine", etag=etag).etag
    with pytest.raises(Aborted) as caught:
        named.update_model("m", description="theirs", etag=etag)
    assert (caught.value.reason, caught.value.field) == ("ETAG_MISMATCH", "etag")
    assert said(named)[0] == "mine"
    named.update_model("m", description="theirs", etag=newer)


def test_a_change_by_anybody_makes_a_new_etag(named: Registry) -> None:
    etag = named.get_model("m").etag
    named.set_alias("m", "production", 1)
    with pytest.raises(Aborted):
        named.update_model("m", labels={}, etag=etag)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"description": "x" * 10_001}, "description"),
        ({"description": "\ud800"}, "description"),
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": {"a": "x" * 257}}, "labels"),
        ({"labels": {str(n): "x" for n in range(65)}}, "labels"),
        ({"name": "A/b"}, "model"),
    ],
)
def test_bad_values_change_nothing(named: Registry, given: dict[str, Any], field: str) -> None:
    before = named.get_model("m")
    with pytest.raises(InvalidArgument) as caught:
        named.update_model(**{"name": "m", "description": "good", **given})
    assert caught.value.field == field
    assert named.get_model("m") == before


def test_a_model_that_is_not_there(named: Registry) -> None:
    with pytest.raises(NotFound):
        named.update_model("absent", description="x")
    named.delete_model("m")
    with pytest.raises(NotFound):
        named.update_model("m", description="x")
