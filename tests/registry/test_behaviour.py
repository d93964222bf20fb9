"""The behavioural suite: what any registry does, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stillroom_registry.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    StillroomError,
)
from stillroom_registry.names import ModelRef
from stillroom_registry.registry import ModelKind, Registry

STUDENT = ModelKind.STUDENT


@pytest.fixture
def three(registry: Registry, make_folder: Any) -> Registry:
    """The model ``m`` with versions 1, 2, 3, each holding its number in the file ``n``."""
    for number in (b"1", b"2", b"3"):
        registry.publish("m", STUDENT, make_folder(n=number))
    return registry


def reason(caught: pytest.ExceptionInfo[StillroomError]) -> str:
    return caught.value.reason


def test_what_is_published_is_read_back(registry: Registry, make_folder: Any, clock: Any) -> None:
    registry.publish("t", ModelKind.TEACHER, make_folder(w=b"teacher"))
    version = registry.publish(
        "m",
        STUDENT,
        make_folder({"config.json": b"{}", "onnx/model.onnx": b"graph", "empty": b""}),
        metadata={"dim": 256, "nested": {"a": [1, None, "ü"]}},
        parents=("models/t/versions/1",),
        description="small",
        labels={"team": "search"},
    )
    assert version.name == "models/m/versions/1"
    assert [file.path for file in version.files] == ["config.json", "empty", "onnx/model.onnx"]
    assert version.size == 7
    assert version.parents == ("models/t/versions/1",)
    assert version.create_time == clock.now
    assert registry.get_version("m", 1) == version
    with registry.open_file(version, "onnx/model.onnx") as stream:
        assert stream.read() == b"graph"
    model = registry.get_model("m")
    assert (model.description, model.labels, model.latest_version) == (
        "small",
        {"team": "search"},
        1,
    )


def test_it_is_all_there_after_reopening(
    open_registry: Callable[[], Registry], make_folder: Any
) -> None:
    first = open_registry()
    version = first.publish("m", STUDENT, make_folder(n=b"1"), metadata={"a": (1, 2)})
    first.set_alias("m", "production", 1)
    model = first.get_model("m")
    first.close()
    second = open_registry()
    assert second.resolve("m@production") == version
    assert second.get_model("m") == model


def test_equal_content_has_an_equal_digest(registry: Registry, make_folder: Any) -> None:
    one = registry.publish("a", STUDENT, make_folder({"x": b"1", "y/z": b"2"}))
    two = registry.publish("b", STUDENT, make_folder({"y/z": b"2", "x": b"1"}))
    other = registry.publish("b", STUDENT, make_folder({"y/z": b"1", "x": b"2"}))
    assert one.digest == two.digest != other.digest


@pytest.mark.parametrize(
    ("ref", "number"),
    [
        ("m", 3),
        ("m@2", 2),
        ("m@production", 1),
        ("models/m", 3),
        ("models/m/versions/1", 1),
        ("models/m/aliases/production", 1),
        (ModelRef("m", 2), 2),
    ],
)
def test_resolve(three: Registry, ref: str | ModelRef, number: int) -> None:
    three.set_alias("m", "production", 1)
    for _ in range(2):
        assert three.resolve(ref).version == number


def test_a_bare_name_follows_the_default_alias(three: Registry) -> None:
    assert three.resolve("m").version == 3
    three.set_alias("m", "default", 1)
    assert three.resolve("m").version == 1
    three.delete_alias("m", "default")
    assert three.resolve("m").version == 3


@pytest.mark.parametrize(
    ("ref", "why"),
    [
        ("absent", "MODEL_NOT_FOUND"),
        ("m@9", "VERSION_NOT_FOUND"),
        ("m@staging", "ALIAS_NOT_FOUND"),
        ("absent@staging", "MODEL_NOT_FOUND"),
    ],
)
def test_resolve_says_what_is_missing(three: Registry, ref: str, why: str) -> None:
    with pytest.raises(NotFound) as caught:
        three.resolve(ref)
    assert reason(caught) == why
    assert ref.split("@")[0] in caught.value.message


def test_another_opener_sees_a_move_at_once(
    open_registry: Callable[[], Registry], make_folder: Any
) -> None:
    here, there = open_registry(), open_registry()
    for number in (b"1", b"2"):
        here.publish("m", STUDENT, make_folder(n=number))
    for number in (1, 2, 1):
        there.set_alias("m", "production", number)
        assert here.resolve("m@production").version == number
    there.delete_alias("m", "production")
    with pytest.raises(NotFound):
        here.resolve("m@production")


def test_a_model_keeps_its_kind(three: Registry, make_folder: Any) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        three.publish("m", ModelKind.TEACHER, make_folder(n=b"4"))
    assert (reason(caught), caught.value.field) == ("KIND_MISMATCH", "kind")
    assert three.get_model("m").latest_version == 3


def test_the_callers_part_of_the_transaction_fails_with_all(
    three: Registry, make_folder: Any
) -> None:
    seen: list[int] = []

    def refuse(connection: object, version: Any) -> None:
        seen.append(version.version)
        raise Aborted("lost", reason="LEASE_LOST")

    for name in ("m", "new"):
        with pytest.raises(Aborted):
            three.publish(name, STUDENT, make_folder(n=b"4"), in_transaction=refuse)
    assert seen == [4, 1]
    assert three.get_model("m").latest_version == 3
    with pytest.raises(NotFound):
        three.get_model("new")
    assert three.publish("m", STUDENT, make_folder(n=b"4")).version == 4


def test_description_and_labels_stay_unless_given(registry: Registry, make_folder: Any) -> None:
    folder = make_folder(n=b"1")
    registry.publish("m", STUDENT, folder, description="d", labels={"a": "b"})
    registry.publish("m", STUDENT, folder)
    model = registry.get_model("m")
    assert (model.description, model.labels) == ("d", {"a": "b"})
    registry.publish("m", STUDENT, folder, description="", labels={})
    model = registry.get_model("m")
    assert (model.description, model.labels) == ("", {})


def test_models_are_listed_by_name_in_pages(registry: Registry, make_folder: Any) -> None:
    folder = make_folder(n=b"1")
    names = [f"m{number}" for number in range(5)]
    for name in reversed(names):
        registry.publish(name, ModelKind.TEACHER if name == "m2" else STUDENT, folder)
    registry.set_alias("m1", "production", 1)
    found, token = [], ""
    while True:
        page = registry.list_models(2, token)
        assert len(page.items) <= 2
        found += page.items
        token = page.next_page_token
        if not token:
            break
    assert [model.name for model in found] == names
    assert found[1].aliases == {"production": 1}
    assert [m.name for m in registry.list_models(kind=ModelKind.TEACHER).items] == ["m2"]
    assert registry.list_models(5).next_page_token == ""


def test_versions_are_listed_newest_first_in_pages(three: Registry) -> None:
    page = three.list_versions("m", 2)
    assert [version.version for version in page.items] == [3, 2]
    rest = three.list_versions("m", 2, page.next_page_token)
    assert [version.version for version in rest.items] == [1]
    assert rest.next_page_token == ""
    assert rest.items[0] == three.get_version("m", 1)


def test_page_arguments_are_checked(three: Registry) -> None:
    token = three.list_versions("m", 1).next_page_token
    for call in (
        lambda: three.list_models(-1),
        lambda: three.list_models(0, "%%%"),
        lambda: three.list_models(0, token),
        lambda: three.list_versions("m", 0, token[:-2]),
        lambda: three.list_models(0, "ü"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            call()
        assert caught.value.field in ("page_size", "page_token")


def test_an_alias_moves_and_its_history_is_kept(three: Registry, clock: Any) -> None:
    start = clock.now
    assert three.set_alias("m", "production", 1, who="ann").version == 1
    clock.advance(60)
    three.set_alias("m", "production", 2)
    three.set_alias("m", "production", 2, who="bob")
    three.set_alias("m", "staging", 3)
    three.delete_alias("m", "production", who="ann")
    assert [(a.alias, a.version) for a in three.list_aliases("m")] == [("staging", 3)]
    events = three.list_alias_events("m", "production").items
    assert [(e.from_version, e.to_version, e.who) for e in events] == [
        (2, None, "ann"),
        (1, 2, None),
        (None, 1, "ann"),
    ]
    assert (events[-1].time, events[0].time) == (start, clock.now)
    first = three.list_alias_events("m", None, 3)
    rest = three.list_alias_events("m", None, 3, first.next_page_token)
    assert [e.alias for e in first.items + rest.items] == [
        "production",
        "staging",
        "production",
        "production",
    ]


def test_an_alias_moves_only_from_where_it_was_expected(three: Registry) -> None:
    three.set_alias("m", "production", 1, expected_version=0)
    for expected in (0, 2):
        with pytest.raises(Aborted) as caught:
            three.set_alias("m", "production", 3, expected_version=expected)
        assert reason(caught) == "ALIAS_MOVED"
        assert caught.value.metadata["version"] == "1"
    three.set_alias("m", "production", 3, expected_version=1)
    assert three.resolve("m@production").version == 3


def test_an_alias_needs_its_model_and_its_version(three: Registry) -> None:
    for version in (0, -1, 4, 2**63, 10**40):
        with pytest.raises(NotFound):
            three.set_alias("m", "production", version)
    with pytest.raises(NotFound):
        three.set_alias("absent", "production", 1)
    with pytest.raises(NotFound):
        three.delete_alias("m", "production")
    assert three.list_alias_events("m").items == ()


def test_a_version_in_use_is_deleted_only_by_force(three: Registry) -> None:
    three.set_alias("m", "production", 2)
    with pytest.raises(FailedPrecondition) as caught:
        three.delete_version("m", 2)
    assert reason(caught) == "ALIAS_POINTS_HERE"
    assert three.resolve("m@production").version == 2
    three.delete_version("m", 2, force=True, who="ann")
    assert three.list_aliases("m") == ()
    assert three.list_alias_events("m").items[0].to_version is None
    with pytest.raises(NotFound):
        three.get_version("m", 2)
    with pytest.raises(NotFound):
        three.delete_version("m", 2)


def test_a_version_number_is_never_used_again(three: Registry, make_folder: Any) -> None:
    three.delete_version("m", 3)
    assert three.resolve("m").version == 2
    assert three.publish("m", STUDENT, make_folder(n=b"4")).version == 4


def test_a_model_without_versions_says_so(three: Registry) -> None:
    for version in (1, 2, 3):
        three.delete_version("m", version)
    assert three.get_model("m").latest_version is None
    with pytest.raises(NotFound) as caught:
        three.resolve("m")
    assert reason(caught) == "NO_VERSIONS"


def test_a_deleted_models_name_begins_anew_and_its_numbers_go_on(
    three: Registry, make_folder: Any
) -> None:
    three.set_alias("m", "production", 1)
    with pytest.raises(FailedPrecondition):
        three.delete_model("m")
    three.delete_model("m", force=True)
    for call in (three.get_model, three.resolve, three.list_versions, three.list_aliases):
        with pytest.raises(NotFound) as caught:
            call("m")
        assert reason(caught) == "MODEL_NOT_FOUND"
    assert three.list_models().items == ()
    version = three.publish("m", ModelKind.TEACHER, make_folder(n=b"4"))
    assert (version.version, version.kind) == (4, ModelKind.TEACHER)
    model = three.get_model("m")
    assert (model.kind, model.description, model.aliases) == (ModelKind.TEACHER, "", {})
    with pytest.raises(NotFound):
        three.get_version("m", 1)


def test_lineage_outlives_deletion(registry: Registry, make_folder: Any) -> None:
    folder = make_folder(n=b"1")
    registry.publish("t", ModelKind.TEACHER, folder)
    registry.delete_model("t")
    parent = "models/t/versions/1"
    assert registry.publish("m", STUDENT, folder, parents=[parent]).parents == (parent,)
    with pytest.raises(NotFound) as caught:
        registry.publish("m", STUDENT, folder, parents=["models/t/versions/2"])
    assert (reason(caught), caught.value.field) == ("PARENT_NOT_FOUND", "parents")


def test_the_etag_changes_with_the_model_and_guards_deletion(
    three: Registry, make_folder: Any
) -> None:
    seen = [three.get_model("m").etag]
    three.set_alias("m", "production", 1)
    seen.append(three.get_model("m").etag)
    three.delete_alias("m", "production")
    seen.append(three.get_model("m").etag)
    three.publish("m", STUDENT, make_folder(n=b"4"))
    seen.append(three.get_model("m").etag)
    assert len(set(seen)) == 4
    with pytest.raises(Aborted):
        three.delete_model("m", etag=seen[0])
    three.delete_model("m", etag=seen[-1])


def test_an_unknown_file_is_named(three: Registry) -> None:
    with pytest.raises(NotFound) as caught:
        three.open_file(three.get_version("m", 1), "../n")
    assert reason(caught) == "FILE_NOT_FOUND"
