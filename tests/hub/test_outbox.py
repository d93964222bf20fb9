"""The outbox's rows: their table, their order, how long they are kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from stillroom_registry.database import Database
from stillroom_server.imports.settings import ImportSettings
from stillroom_server.sync import outbox as module
from stillroom_server.sync import schema
from stillroom_server.sync.outbox import Outbox
from stillroom_server.sync.values import Direction, Sync, SyncState

PUSH = Sync("op", Direction.PUSH, "m", 1, "https://hub", "o/r", "main")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    database = Database.open(tmp_path / "db")
    ticks = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=i) for i in range(100_000))
    yield Outbox(database, lambda: next(ticks))
    database.close()


def add(box: Outbox, operation: str, **more: object) -> None:
    with box.database.write() as connection:
        box.add(connection, replace(PUSH, operation=operation, **more))  # type: ignore[arg-type]


def test_the_migration_makes_the_table_that_the_code_knows(box: Outbox) -> None:
    with box.database.read() as connection:
        found = sa.inspect(connection)
        columns = {
            column["name"]: (column["nullable"], str(column["type"]))
            for column in found.get_columns("hub_syncs")
        }
        indices = {index["name"] for index in found.get_indexes("hub_syncs")}
        wanted = {
            column.name: (column.nullable, column.type.compile(connection.dialect))
            for column in schema.hub_syncs.columns
        }
    assert columns == wanted
    assert {"hub_syncs_model", "hub_syncs_state"} <= indices


def test_opening_twice_and_adding_twice_change_nothing(box: Outbox) -> None:
    add(box, "one")
    again = Outbox(box.database, lambda: datetime(2030, 1, 1, tzinfo=UTC))
    add(again, "one", repo="o/other")
    (only,) = box.of_repo("m", "https://hub", "o/r")
    assert only.state is SyncState.PENDING
    assert only.create_time == datetime(2026, 1, 1, tzinfo=UTC)


def test_the_newest_of_each_line_is_shown(box: Outbox) -> None:
    add(box, "one", state=SyncState.DONE, commit="a")
    add(box, "two", state=SyncState.FAILED)
    add(box, "three", branch="next")
    add(box, "four", direction=Direction.PULL)
    add(box, "five", version=2)
    shown = box.of_versions("m", [1, 2, 3])
    assert [sync.operation for sync in shown[1]] == ["four", "three", "two"]
    assert [sync.operation for sync in shown[2]] == ["five"]
    assert shown[3] == []


def test_old_rows_go_but_not_what_says_where_a_branch_was_left(
    box: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_KEPT", 3)
    add(box, "left", state=SyncState.DONE, commit="a", branch="stable")
    add(box, "waits", state=SyncState.PENDING)
    for number in range(10):
        add(box, f"push-{number}", state=SyncState.DONE, commit=f"c{number}")
        add(box, f"bad-{number}", state=SyncState.FAILED)
    kept = {sync.operation for sync in box.of_repo("m", "https://hub", "o/r")}
    assert {"left", "waits", "push-9"} <= kept
    assert "push-3" not in kept
    assert len(kept) <= 7


@pytest.mark.parametrize(
    ("environment", "token"),
    [
        ({"STILLROOM_HUB_TOKEN": "own", "HF_TOKEN": "theirs"}, "own"),
        ({"HF_TOKEN": " theirs \n"}, "theirs"),
        ({"HUGGING_FACE_HUB_TOKEN": "old"}, "old"),
        ({"HF_TOKEN_PATH": "{home}/named"}, "named"),
        ({"HF_HOME": "{home}"}, "kept"),
        ({"XDG_CACHE_HOME": "{home}/cache"}, "cached"),
        ({"HOME": "{home}"}, "home"),
        ({"HF_HOME": "{home}/nothing"}, ""),
        ({}, ""),
    ],
)
def test_tokens_from_the_usual_places(
    tmp_path: Path, environment: dict[str, str], token: str
) -> None:
    files = {
        "named": "named",
        "token": "kept\n",
        "cache/huggingface/token": "cached",
        ".cache/huggingface/token": "home",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    given = {name: value.format(home=tmp_path) for name, value in environment.items()}
    settings = ImportSettings.from_json({"hub_allow": ["a/*"]}, given)
    assert settings.token_for("a/b") == (token or None)
    assert settings.token_for("b/a") is None
    assert not token or token not in repr(settings)
    assert os.environ.get("HF_TOKEN") != token
