from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from operations.support import Monotonic, claimed
from stillroom_registry.errors import NotFound, ResourceExhausted
from stillroom_server.operations.model import Operation, OperationState, Progress
from stillroom_server.operations.store import OperationStore
from stillroom_server.operations.watch import OperationWatcher


def progress(done: int) -> Progress:
    return Progress("train", 0, 1, done, 10, "steps", fraction=done / 10)


class Script:
    """A clock whose sleeps carry out what happens meanwhile, one step a sleep."""

    def __init__(self, *steps: Callable[[], object] | None) -> None:
        self.steps = list(steps)
        self.clock = Monotonic()

    async def sleep(self, seconds: float) -> None:
        await self.clock.sleep(seconds)
        step = self.steps.pop(0)
        if step is not None:
            step()


async def test_every_change_in_order_until_the_end(store: OperationStore) -> None:
    made = store.create("distill", {})
    claims = []

    def both() -> None:
        store.heartbeat(claims[0], progress(2))
        store.heartbeat(claims[0], progress(3))

    script = Script(
        None,
        lambda: claims.append(claimed(store)),
        lambda: store.heartbeat(claims[0]),  # no change
        lambda: store.heartbeat(claims[0], progress(1)),
        lambda: store.create("distill", {}),  # a commit, but of another operation
        both,
        lambda: store.succeed(claims[0], {"model": "m"}),
    )
    watcher = OperationWatcher(store, sleep=script.sleep)
    seen = [operation async for operation in watcher.watch(made.id)]
    assert [(o.state, o.progress and o.progress.done) for o in seen] == [
        (OperationState.PENDING, None),
        (OperationState.RUNNING, None),
        (OperationState.RUNNING, 1),
        (OperationState.RUNNING, 3),
        (OperationState.SUCCEEDED, 3),
    ]
    assert seen[-1].result == {"model": "m"}
    assert script.clock.now == pytest.approx(100.7)


async def test_an_ended_operation_is_yielded_once(store: OperationStore) -> None:
    made = store.create("distill", {})
    store.request_cancel(made.id)
    script = Script()
    watcher = OperationWatcher(store, sleep=script.sleep)
    assert [o.state async for o in watcher.watch(made.id)] == [OperationState.CANCELLED]
    assert script.clock.now == 100.0


async def test_unknown_and_deleted_operations(store: OperationStore) -> None:
    watcher = OperationWatcher(store)
    with pytest.raises(NotFound):
        await anext(watcher.watch("nonsense"))
    made = store.create("distill", {})

    def vanish() -> None:
        store.request_cancel(made.id)
        store.delete(made.id)

    watching = OperationWatcher(store, sleep=Script(vanish).sleep).watch(made.id)
    await anext(watching)
    with pytest.raises(NotFound):
        await anext(watching)


async def test_nothing_is_read_while_nothing_changes(store: OperationStore) -> None:
    reads = 0
    get_many = store.get_many

    def counted(ids: list[str]) -> dict[str, Operation]:
        nonlocal reads
        reads += 1
        return get_many(ids)

    store.get_many = counted  # type: ignore[method-assign, assignment]
    made = store.create("distill", {})
    script = Script(*[None] * 50, lambda: store.request_cancel(made.id))
    watcher = OperationWatcher(store, sleep=script.sleep)
    assert len([o async for o in watcher.watch(made.id)]) == 2
    assert reads == 2


async def test_many_watchers_share_the_reads(store: OperationStore) -> None:
    made = [store.create("distill", {}).id for _ in range(10)]
    reads = 0
    get_many = store.get_many

    def counted(ids: list[str]) -> dict[str, Operation]:
        nonlocal reads
        reads += 1
        return get_many(ids)

    store.get_many = counted  # type: ignore[method-assign, assignment]
    turn, asleep = asyncio.Event(), asyncio.Semaphore(0)

    async def sleep(_seconds: float) -> None:
        asleep.release()
        await turn.wait()

    watcher = OperationWatcher(store, sleep=sleep)
    tasks = [asyncio.create_task(watcher.wait(id_)) for id_ in made for _ in range(5)]
    for _ in tasks:
        await asleep.acquire()
    for operation_id in made:
        store.request_cancel(operation_id)
    before = reads
    turn.set()
    ended = await asyncio.gather(*tasks)
    assert {operation.state for operation in ended} == {OperationState.CANCELLED}
    assert reads == before + 1
    assert not watcher._watched
    assert not watcher._found


async def test_watchers_are_bounded_and_leave(store: OperationStore) -> None:
    made = store.create("distill", {})
    watcher = OperationWatcher(store, max_watchers=2)
    first, second = watcher.watch(made.id), watcher.watch(made.id)
    await anext(first)
    await anext(second)
    with pytest.raises(ResourceExhausted) as caught:
        await anext(watcher.watch(made.id))
    assert caught.value.reason == "TOO_MANY_WATCHERS"
    assert caught.value.retry_after
    await first.aclose()  # type: ignore[attr-defined]
    assert await anext(watcher.watch(made.id)) == made


async def test_wait_returns_the_end(store: OperationStore) -> None:
    made = store.create("distill", {})
    script = Script(None, lambda: store.request_cancel(made.id))
    watcher = OperationWatcher(store, sleep=script.sleep, clock=script.clock)
    assert (await watcher.wait(made.id)).state is OperationState.CANCELLED


async def test_wait_returns_the_operation_as_it_is_at_the_deadline(store: OperationStore) -> None:
    made = store.create("distill", {})
    script = Script(*[None] * 99)
    watcher = OperationWatcher(store, sleep=script.sleep, clock=script.clock)
    assert await watcher.wait(made.id, timeout=0.25) == made
    assert script.clock.now == pytest.approx(100.25)
    assert await watcher.wait(made.id, timeout=0) == made
    assert script.clock.now == pytest.approx(100.25)
    with pytest.raises(NotFound):
        await watcher.wait("nonsense", timeout=0)


async def test_watching_again_reads_again(store: OperationStore) -> None:
    made = store.create("distill", {})
    watcher = OperationWatcher(store, sleep=Script().sleep)
    for _ in range(2):
        watching = watcher.watch(made.id)
        assert await anext(watching) == made
        assert watcher._found == {made.id: made}
        await watching.aclose()  # type: ignore[attr-defined]
