from __future__ import annotations

import random

from teachers.fakes import FakeModel, job

from stillroom_server.teachers.job import Job
from stillroom_server.teachers.queue import Batch, WorkQueue


def taken(batch: Batch | None) -> list[int]:
    """Lengths of a batch's texts."""
    assert batch is not None
    return [owner.lengths[index] for owner, index in batch.texts]


def drain(queue: WorkQueue) -> list[Batch]:
    batches = []
    while (batch := queue.next_batch(0.0)) is not None:
        queue.finish(batch, 0.01)
        batches.append(batch)
    return batches


def test_a_batch_holds_texts_of_like_length_of_all_requests() -> None:
    model, queue = FakeModel(), WorkQueue(64, 4)
    queue.add(job(model, [16, 3, 15]), 0.0)
    queue.add(job(model, [3, 16]), 0.0)
    first = queue.next_batch(0.0)
    assert sorted(taken(first)) == [15, 16, 16]
    assert first is not None
    assert (first.tokens, first.padded_tokens) == (47, 48)
    assert taken(queue.next_batch(0.0)) == [3, 3]
    assert queue.next_batch(0.0) is None


def test_the_budget_counts_padding() -> None:
    model, queue = FakeModel(), WorkQueue(40, 100)
    queue.add(job(model, [10, 6, 6, 6, 6]), 0.0)
    assert taken(queue.next_batch(0.0)) == [10, 6, 6, 6]


def test_a_text_longer_than_the_budget_is_a_batch_of_its_own() -> None:
    model, queue = FakeModel(), WorkQueue(8, 4)
    queue.add(job(model, [20, 20, 8]), 0.0)
    assert [taken(batch) for batch in drain(queue)] == [[20], [20], [8]]


def test_padding_beyond_what_a_forward_pass_costs_is_not_paid() -> None:
    model = FakeModel()
    for pass_tokens, expected in ((50, [[100], [5, 5]]), (200, [[100, 5, 5]])):
        queue = WorkQueue(10_000, pass_tokens)
        queue.add(job(model, [100, 5, 5]), 0.0)
        assert [taken(batch) for batch in drain(queue)] == expected


def test_a_short_leader_may_join_longer_texts() -> None:
    model, queue = FakeModel(), WorkQueue(1000, 20)
    queue.add(job(model, [10]), 0.0)
    queue.add(job(model, [14] * 4), 0.0)
    assert taken(queue.next_batch(0.0)) == [10, 14, 14, 14, 14]


def test_models_and_skips_never_share_a_batch() -> None:
    queue = WorkQueue(1000, 100)
    one, other = FakeModel("a"), FakeModel("b")
    queue.add(job(one, [5]), 0.0)
    queue.add(job(other, [5]), 0.0)
    queue.add(job(one, [5], skip=2), 0.0)
    batches = drain(queue)
    assert sorted((batch.model.name, batch.skip, len(batch.texts)) for batch in batches) == [
        ("a", 0, 1),
        ("a", 2, 1),
        ("b", 0, 1),
    ]


def test_equal_requests_are_done_in_the_order_they_came() -> None:
    model, queue = FakeModel(), WorkQueue(20, 0)
    jobs = [job(model, [10, 10, 10, 10]) for _ in range(3)]
    for number, one in enumerate(jobs):
        queue.add(one, float(number) / 1000)
    done: list[Job] = []
    while (batch := queue.next_batch(1.0)) is not None:
        done += queue.finish(batch, 0.01)
    assert done == jobs


def test_a_small_request_passes_a_huge_one_but_not_for_ever() -> None:
    model, queue = FakeModel(), WorkQueue(100, 0)
    queue.finish(Batch(model, 0, [], 0, 1000), 1.0)  # a token takes a millisecond
    huge = job(model, [50] * 200)  # 10 s
    queue.add(huge, 0.0)
    at = 1.0
    small = job(model, [5])
    queue.add(small, at)
    assert taken(queue.next_batch(at)) == [5]
    # However many small ones keep arriving, the huge one begins when its 10 s are over.
    while huge.started is None:
        queue.add(job(model, [5]), at)
        queue.next_batch(at)
        at += 0.1
    assert 9.0 < at < 11.0


def test_cancelled_and_expired_requests_are_never_computed() -> None:
    model, queue = FakeModel(), WorkQueue(1000, 100)
    kept, cancelled = job(model, [5, 6]), job(model, [5, 6])
    late, later = job(model, [5], deadline=10.0), job(model, [5], deadline=20.0)
    for one in (cancelled, late, kept, later):
        queue.add(one, 0.0)
    assert queue.remove(cancelled)
    assert not queue.remove(cancelled)
    assert queue.expire(10.0) == [late]
    batch = queue.next_batch(10.0)
    assert batch is not None
    assert {owner for owner, _ in batch.texts} == {kept, later}
    assert queue.finish(batch, 0.1) == [later, kept]  # the smaller is due first
    assert (len(queue), queue.waiting) == (0, False)


def test_a_request_that_leaves_amid_its_batches_costs_no_more() -> None:
    model, queue = FakeModel(), WorkQueue(10, 0)
    leaving, staying = job(model, [10, 10, 10]), job(model, [9])
    queue.add(leaving, 0.0)
    queue.add(staying, 0.0)
    first = queue.next_batch(0.0)
    while first is not None and first.texts[0][0] is staying:
        queue.finish(first, 0.1)
        first = queue.next_batch(0.0)
    assert first is not None
    queue.remove(leaving)
    assert queue.finish(first, 0.1) == []
    assert all(batch.texts[0][0] is staying for batch in drain(queue))


def test_time_is_shared_by_tokens() -> None:
    model, queue = FakeModel(), WorkQueue(1000, 1000)
    one, other = job(model, [30]), job(model, [5, 5])
    queue.add(one, 0.0)
    queue.add(other, 0.0)
    batch = queue.next_batch(0.0)
    assert batch is not None
    queue.finish(batch, 4.0)
    assert (one.infer_seconds, other.infer_seconds) == (3.0, 1.0)


def test_whatever_arrives_every_text_is_computed_once() -> None:
    chance = random.Random(5)
    models = [FakeModel("a"), FakeModel("b")]
    queue = WorkQueue(256, 32)
    live: set[Job] = set()
    seen: dict[Job, list[int]] = {}
    for step in range(2000):
        action = chance.random()
        if action < 0.3:
            lengths = [
                chance.choice((2, 7, 7, 30, 31, 90, 300)) for _ in range(chance.randint(1, 9))
            ]
            made = job(chance.choice(models), lengths, skip=chance.choice((0, 0, 3)))
            queue.add(made, step / 100)
            live.add(made)
            seen[made] = []
        elif action < 0.35 and live:
            gone = chance.choice(sorted(live, key=lambda one: one.due))
            assert queue.remove(gone)
            live.remove(gone)
            del seen[gone]
        batch = queue.next_batch(step / 100)
        if batch is None:
            continue
        longest = max(taken(batch))
        assert batch.padded_tokens == longest * len(batch.texts)
        assert batch.padded_tokens <= 256 or len(batch.texts) == 1
        waste = batch.padded_tokens - batch.tokens
        assert waste <= max(32, 0.1 * batch.padded_tokens) + 1e-9
        for owner, index in batch.texts:
            assert owner in live
            seen[owner].append(index)
        for owner in queue.finish(batch, 0.001):
            live.remove(owner)
            assert sorted(seen[owner]) == list(range(len(owner.lengths)))
    drain(queue)
    assert not queue.waiting
