"""The runner leaves a core to serving while requests arrive."""

from __future__ import annotations

import sys
import threading
import types

import pytest

from operations.support import Monotonic
from stillroom_server.operations.pace import Pace, ThreadLimit, message


def test_all_cores_until_requests_arrive_and_after_a_quiet_while(monotonic: Monotonic) -> None:
    requests = 5
    pace = Pace(lambda: requests, busy_threads=3, idle_threads=4, quiet_seconds=10, clock=monotonic)
    assert pace.threads() == 4
    requests += 1
    assert pace.threads() == 3
    monotonic.advance(9)
    assert pace.threads() == 3
    requests += 1
    assert pace.threads() == 3
    monotonic.advance(9.9)
    assert pace.threads() == 3
    monotonic.advance(0.1)
    assert pace.threads() == 4


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    torch = types.ModuleType("torch")
    calls: list[int] = []
    torch.set_num_threads = calls.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    return calls


def test_each_thread_takes_a_change_over_once(calls: list[int]) -> None:
    limit = ThreadLimit()
    limit.apply()
    assert calls == []
    limit.hear(message(2))
    for _ in range(3):
        limit.apply()
    other = threading.Thread(target=limit.apply)
    other.start()
    other.join()
    assert calls == [2, 2]
    limit.hear(message(1))
    limit.apply()
    assert calls == [2, 2, 1]


def test_before_torch_is_there_nothing_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    limit = ThreadLimit()
    limit.hear(message(2))
    limit.apply()
    torch = types.ModuleType("torch")
    calls: list[int] = []
    torch.set_num_threads = calls.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    limit.apply()
    assert calls == [2]


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"[]\n", b'{"threads": 0}\n', b'{"threads": "2"}\n', b"\xff"]
)
def test_lines_that_say_nothing(line: bytes, calls: list[int]) -> None:
    limit = ThreadLimit()
    limit.hear(line)
    limit.apply()
    assert calls == []
