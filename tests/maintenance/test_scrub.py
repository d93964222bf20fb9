"""The background scrubber: what it looks at, in which order, and how fast."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from maintenance.conftest import Clock, Store
from stillroom_registry.errors import Cancelled, Unavailable
from stillroom_registry.registry import ModelVersion, Verification
from stillroom_server.maintenance.scrub import Scrubber

MONTH = timedelta(days=30)


class Pace:
    """A monotonic clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return False


def scrubber(store: Store, pace: Pace, rate: float = 1e6) -> Scrubber:
    return Scrubber(
        store.registry,
        interval=MONTH,
        bytes_per_second=rate,
        now=store.clock,
        clock=pace,
        wait=pace.wait,
    )


def test_only_what_is_due_is_read(store: Store, clock: Clock) -> None:
    old = store.publish("old", a_json=b"old")
    clock.advance(days=20)
    store.publish("new", a_json=b"new")
    scrub = scrubber(store, Pace())
    assert scrub.run() == 0
    clock.advance(days=11)
    damaged = store.damage(old, "a.json")
    store.damage(store.registry.resolve("new"), "a.json")
    assert scrub.run() == 1
    assert damaged.exists()
    assert [f.path for f in store.registry.damaged_files(old)] == ["a.json"]
    assert store.registry.damaged_files(store.registry.resolve("new")) == ()
    assert scrub.last_round == clock.now
    assert scrub.run() == 0  # its turn comes in a month again
    clock.advance(days=31)
    assert scrub.run() == 2
    assert store.registry.integrity_state().quarantined_versions == 2


def test_the_longest_unseen_comes_first(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b", "c", "a"):
        store.publish(name, a_json=name.encode())
        clock.advance(days=1)
    store.registry.verify(store.registry.resolve("b"))
    clock.advance(days=40)
    seen: list[str] = []
    verify = store.registry.verify

    def noting(version: ModelVersion, **more: object) -> Verification:
        seen.append(version.model)
        return verify(version, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store.registry, "verify", noting)
    assert scrubber(store, Pace()).run() == 3
    assert seen == ["c", "a", "b"]


def test_the_rate_is_kept(store: Store, clock: Clock) -> None:
    store.publish("m", big_txt=bytes(5_000_000), small_txt=b"x" * 1_000_000)
    clock.advance(days=31)
    pace = Pace()
    assert scrubber(store, pace, rate=2e6).run() == 1
    assert pace.now == pytest.approx(3.0)
    assert len(pace.waits) > 2  # after each piece, not once at the end


def test_a_stop_ends_the_round_and_counts_for_nothing(store: Store, clock: Clock) -> None:
    version = store.publish("m", a_json=b"x" * 3_000_000)
    clock.advance(days=31)
    pace = Pace()
    scrub = scrubber(store, pace)
    scrub.stop()
    with pytest.raises(Cancelled):
        scrub.run()
    assert scrub.last_round is None
    assert store.registry.due_for_verification(clock.now - MONTH) == (version,)


def test_one_that_cannot_be_read_does_not_keep_the_others_waiting(
    store: Store,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.publish("a", a_json=b"a")
    whole = store.publish("b", a_json=b"b")
    clock.advance(days=31)
    verify = store.registry.verify

    def failing(version: ModelVersion, **more: object) -> Verification:
        if version.model == "a":
            raise Unavailable("the database is busy", reason="DATABASE_BUSY")
        return verify(version, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(store.registry, "verify", failing)
    with caplog.at_level(logging.WARNING):
        assert scrubber(store, Pace()).run() == 2
    assert "models/a/versions/1" in caplog.text
    due = store.registry.due_for_verification(clock.now - MONTH)
    assert [version.model for version in due] == ["a"]
    assert whole.model == "b"


def test_damage_is_told_in_the_log(
    store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    version = store.publish("m", a_json=b"a", b_json=b"b")
    store.damage(version, "b.json")
    clock.advance(days=31)
    with caplog.at_level(logging.ERROR):
        scrubber(store, Pace()).run()
    (record,) = caplog.records
    assert "models/m/versions/1" in record.getMessage()
    assert "b.json;" in record.getMessage()
    assert "a.json" not in record.getMessage()


def test_the_state_of_all_is_known(store: Store, clock: Clock) -> None:
    assert store.registry.integrity_state().oldest_check is None
    first = clock.now
    one = store.publish("one", a_json=b"shared")
    clock.advance(days=1)
    store.publish("two", a_json=b"shared", b_json=b"own")
    state = store.registry.integrity_state()
    assert state.quarantined_versions == 0
    assert state.oldest_check is not None
    assert first <= state.oldest_check <= clock.now
    store.damage(one, "a.json")
    store.registry.verify(one)
    assert store.registry.integrity_state().quarantined_versions == 2  # both have that file
    store.registry.delete_model("two")
    assert store.registry.integrity_state().quarantined_versions == 1
