"""An alias goes back to where it was before its last move."""

from __future__ import annotations

from typing import Any

import pytest

from stillroom_registry.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound
from stillroom_registry.registry import ModelKind, Registry


@pytest.fixture
def moved(registry: Registry, make_folder: Any) -> Registry:
    """``m`` has versions 1, 2, 3; ``production`` moved from 1 to 3."""
    for number in (b"1", b"2", b"3"):
        registry.publish("m", ModelKind.STUDENT, make_folder(n=number))
    registry.set_alias("m", "production", 1, who="ann")
    registry.set_alias("m", "production", 3, who="ann")
    return registry


def test_back_and_forth(moved: Registry, clock: Any) -> None:
    clock.advance(60)
    back = moved.roll_back_alias("m", "production", who="bob")
    assert (back.version, back.update_time) == (1, clock.now)
    assert moved.resolve("m@production").version == 1
    assert moved.roll_back_alias("m", "production").version == 3
    events = moved.list_alias_events("m", "production").items
    assert [(e.from_version, e.to_version, e.who) for e in events[:2]] == [
        (1, 3, None),
        (3, 1, "bob"),
    ]


def test_a_deletion_is_rolled_back(moved: Registry) -> None:
    moved.delete_alias("m", "production")
    assert moved.roll_back_alias("m", "production", expected_version=0).version == 3
    assert moved.resolve("m@production").version == 3


def test_other_aliases_do_not_matter(moved: Registry) -> None:
    moved.set_alias("m", "staging", 2)
    assert moved.roll_back_alias("m", "production").version == 1
    assert moved.resolve("m@staging").version == 2


def test_what_was_new_has_nothing_before_it(moved: Registry) -> None:
    moved.set_alias("m", "staging", 2)
    with pytest.raises(FailedPrecondition) as caught:
        moved.roll_back_alias("m", "staging")
    assert caught.value.reason == "NOTHING_TO_ROLL_BACK"
    assert moved.resolve("m@staging").version == 2


def test_a_deleted_version_is_not_gone_back_to(moved: Registry) -> None:
    moved.delete_version("m", 1)
    with pytest.raises(FailedPrecondition) as caught:
        moved.roll_back_alias("m", "production")
    assert caught.value.reason == "VERSION_DELETED"
    assert caught.value.metadata["version"] == "models/m/versions/1"
    assert moved.resolve("m@production").version == 3


def test_only_from_where_it_was_expected(moved: Registry) -> None:
    for expected in (0, 1):
        with pytest.raises(Aborted):
            moved.roll_back_alias("m", "production", expected_version=expected)
    assert moved.roll_back_alias("m", "production", expected_version=3).version == 1


def test_what_is_not_there(moved: Registry) -> None:
    with pytest.raises(NotFound) as caught:
        moved.roll_back_alias("m", "absent")
    assert caught.value.reason == "ALIAS_NOT_FOUND"
    with pytest.raises(NotFound):
        moved.roll_back_alias("absent", "production")
    with pytest.raises(InvalidArgument):
        moved.roll_back_alias("m", "No Alias")
