from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import sqlalchemy as sa

from operations.support import WallClock, claimed, open_store
from stillroom_registry.database import Database
from stillroom_registry.errors import FailedPrecondition, InvalidArgument, NotFound
from stillroom_registry.pages import make_token
from stillroom_server.operations.model import OperationState
from stillroom_server.operations.schema import metadata
from stillroom_server.operations.store import OperationStore


def test_create_get_round_trip(store: OperationStore, clock: WallClock) -> None:
    made = store.create("distill", {"teacher": "minilm", "n": [1, None, "é"]}, target="tiny")
    assert made.state is OperationState.PENDING
    assert made.create_time == made.update_time == clock.now
    assert (made.attempt, made.start_time, made.end_time) == (0, None, None)
    assert made.request == {"teacher": "minilm", "n": [1, None, "é"]}
    assert made.target == "tiny"
    assert store.get(made.id) == made


def test_operations_survive_reopening(tmp_path: Path, clock: WallClock) -> None:
    made = open_store(tmp_path, clock).create("distill", {"a": 1})
    assert open_store(tmp_path, clock).get(made.id) == made


def test_get_unknown_names_it(store: OperationStore) -> None:
    with pytest.raises(NotFound) as caught:
        store.get("nonsense")
    assert "nonsense" in caught.value.message
    assert caught.value.reason == "OPERATION_NOT_FOUND"


@pytest.mark.parametrize("request_json", [{"x": math.nan}, {"x": object()}, {"x": "y" * (5 << 20)}])
def test_create_refuses_what_is_no_json(store: OperationStore, request_json: dict) -> None:
    with pytest.raises(InvalidArgument) as caught:
        store.create("distill", request_json)
    assert caught.value.field == "request"
    assert store.list().items == ()


def test_request_id_is_idempotent(store: OperationStore) -> None:
    first = store.create("distill", {"a": 1, "b": 2}, request_id="r")
    claimed(store)
    again = store.create("distill", {"b": 2, "a": 1}, request_id="r")
    assert again.id == first.id
    assert again.state is OperationState.RUNNING  # as it is now
    assert len(store.list().items) == 1
    assert store.create("distill", {"a": 1, "b": 2}, request_id="other").id != first.id


@pytest.mark.parametrize(
    ("kind", "body", "target"),
    [("import", {"a": 1}, "t"), ("distill", {"a": 2}, "t"), ("distill", {"a": 1}, "u")],
)
def test_request_id_with_another_body(
    store: OperationStore, kind: str, body: dict, target: str
) -> None:
    store.create("distill", {"a": 1}, target="t", request_id="r")
    with pytest.raises(InvalidArgument) as caught:
        store.create(kind, body, target=target, request_id="r")
    assert caught.value.field == "request_id"
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert len(store.list().items) == 1


def test_fingerprint_decides_when_given(store: OperationStore) -> None:
    first = store.create("distill", {"resolved": 1}, request_id="r", fingerprint=b"same")
    again = store.create("distill", {"resolved": 2}, request_id="r", fingerprint=b"same")
    assert again.id == first.id
    assert again.request == {"resolved": 1}
    with pytest.raises(InvalidArgument):
        store.create("import", {"resolved": 1}, request_id="r", fingerprint=b"same")


def test_request_id_lasts_24_hours(store: OperationStore, clock: WallClock) -> None:
    first = store.create("distill", {}, request_id="r")
    clock.advance(24 * 3600 - 1)
    assert store.create("distill", {}, request_id="r").id == first.id
    clock.advance(1)
    assert store.create("distill", {}, request_id="r").id != first.id


def test_request_id_of_a_deleted_operation_runs_nothing_twice(store: OperationStore) -> None:
    made = store.create("distill", {}, request_id="r")
    store.request_cancel(made.id)
    store.delete(made.id)
    with pytest.raises(FailedPrecondition) as caught:
        store.create("distill", {}, request_id="r")
    assert caught.value.reason == "OPERATION_DELETED"


@pytest.mark.parametrize("request_id", ["", "x" * 257])
def test_request_id_length(store: OperationStore, request_id: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        store.create("distill", {}, request_id=request_id)
    assert caught.value.field == "request_id"


def test_list_pages_newest_first(store: OperationStore) -> None:
    for number in range(7):
        store.create("distill" if number % 2 else "import", {"number": number})
    seen, token, sizes = [], "", []
    while True:
        page = store.list(3, token)
        seen += [operation.request["number"] for operation in page.items]
        sizes.append(len(page.items))
        token = page.next_page_token
        if not token:
            break
    assert seen == [6, 5, 4, 3, 2, 1, 0]
    assert sizes == [3, 3, 1]


def test_list_pages_stay_put_while_operations_come(store: OperationStore) -> None:
    for number in range(4):
        store.create("distill", {"number": number})
    first = store.list(2)
    store.create("distill", {"number": 99})
    second = store.list(2, first.next_page_token)
    assert [operation.request["number"] for operation in second.items] == [1, 0]


def test_list_filters(store: OperationStore) -> None:
    for kind in ("distill", "import", "distill"):
        store.create(kind, {})
    claimed(store)
    assert [o.id for o in store.list(kind="distill").items] == ["op-3", "op-1"]
    assert [o.id for o in store.list(state=OperationState.PENDING).items] == ["op-3", "op-2"]
    both = store.list(state=OperationState.PENDING, kind="distill").items
    assert [o.id for o in both] == ["op-3"]
    assert store.count_by_kind_and_state() == {
        ("distill", OperationState.RUNNING): 1,
        ("distill", OperationState.PENDING): 1,
        ("import", OperationState.PENDING): 1,
    }


@pytest.mark.parametrize(
    "token",
    ["x", "é", "bnVsbA", "WzFd", "WzAsbnVsbCxudWxsXQ", "W3RydWUsbnVsbCxudWxsXQ", "[" * 9999],
)
def test_damaged_page_token(store: OperationStore, token: str) -> None:
    store.create("distill", {})
    with pytest.raises(InvalidArgument) as caught:
        store.list(page_token=token)
    assert caught.value.field == "page_token"


def test_page_token_of_another_filter(store: OperationStore) -> None:
    for _ in range(3):
        store.create("distill", {})
    token = store.list(1, kind="distill").next_page_token
    assert store.list(1, token, kind="distill").items
    with pytest.raises(InvalidArgument) as caught:
        store.list(1, token)
    assert caught.value.field == "page_token"


def test_page_token_from_beyond_all_numbers(store: OperationStore) -> None:
    for _ in range(2):
        store.create("distill", {})
    token = make_token(json.dumps(["operations", None, None]), 10**30)
    with pytest.raises(InvalidArgument) as caught:
        store.list(1, token)
    assert caught.value.field == "page_token"


def test_page_size_bounds(store: OperationStore) -> None:
    for _ in range(60):
        store.create("distill", {})
    assert len(store.list().items) == 50
    assert len(store.list(10**9).items) == 60
    with pytest.raises(InvalidArgument) as caught:
        store.list(-1)
    assert caught.value.field == "page_size"


def test_cancel_pending_ends_it_at_once(store: OperationStore, clock: WallClock) -> None:
    made = store.create("distill", {})
    clock.advance(5)
    ended = store.request_cancel(made.id)
    assert ended.state is OperationState.CANCELLED
    assert ended.end_time == clock.now
    assert ended.error is not None
    assert ended.error.code == "Cancelled"
    assert store.claim("w", 15) is None
    assert store.request_cancel(made.id) == ended


def test_cancel_of_an_ended_operation_changes_nothing(store: OperationStore) -> None:
    made = store.create("distill", {})
    store.succeed(claimed(store), {"model": "m"})
    assert store.request_cancel(made.id).state is OperationState.SUCCEEDED
    with pytest.raises(NotFound):
        store.request_cancel("nonsense")


def test_delete_only_what_has_ended(store: OperationStore) -> None:
    made = store.create("distill", {})
    with pytest.raises(FailedPrecondition) as caught:
        store.delete(made.id)
    assert caught.value.reason == "OPERATION_NOT_DONE"
    claim = claimed(store)
    with pytest.raises(FailedPrecondition):
        store.delete(made.id)
    store.succeed(claim, {})
    store.delete(made.id)
    with pytest.raises(NotFound):
        store.delete(made.id)


def test_migrations_make_the_tables_that_the_code_uses(tmp_path: Path, clock: WallClock) -> None:
    open_store(tmp_path, clock)

    def shape(inspector: sa.Inspector, table: str) -> object:
        columns = [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)]
        indexes = sorted((i["name"], i["column_names"]) for i in inspector.get_indexes(table))
        unique = [c["column_names"] for c in inspector.get_unique_constraints(table)]
        return columns, indexes, unique, inspector.get_pk_constraint(table)["constrained_columns"]

    wanted = sa.create_engine("sqlite://")
    metadata.create_all(wanted)
    with Database.open(tmp_path / "stillroom.db").read() as connection:
        made = sa.inspect(connection)
        assert made.has_table("alembic_version_operations")
        for table in metadata.tables:
            assert shape(made, table) == shape(sa.inspect(wanted), table)
