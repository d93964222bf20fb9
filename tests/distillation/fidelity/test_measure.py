"""The whole report, of a tiny student that is embedded by the code that serves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from inference.students import WORDS, write_student

from stillroom_registry.errors import Cancelled, FailedPrecondition
from stillroom_server.distillation.fidelity.evaluations.evaluate import read_evaluation
from stillroom_server.distillation.fidelity.measure import measure
from stillroom_server.distillation.fidelity.progress import Meter
from stillroom_server.distillation.fidelity.samples import Sample, built_in_texts, from_shards
from stillroom_server.distillation.fidelity.speed import student_speed
from stillroom_server.inference.embedder import StudentEmbedder

DIMENSIONS = 40


def texts_of(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(3, 9))) for _ in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_student(tmp_path_factory.mktemp("student"), dimensions=DIMENSIONS)


@pytest.fixture(scope="module")
def student(folder: Path) -> StudentEmbedder:
    return StudentEmbedder.load(folder)


class Teacher:
    """Gives the student's vectors turned into a larger space, with an offset and noise."""

    def __init__(self, student: StudentEmbedder, noise: float) -> None:
        rng = np.random.default_rng(0)
        self.student, self.noise = student, noise
        self.turn = np.linalg.qr(rng.standard_normal((64, DIMENSIONS)))[0].T
        self.offset = 0.1 * rng.standard_normal(64)
        self.calls: list[int] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.calls.append(len(texts))
        seeds = [np.random.default_rng(list(text.encode())) for text in texts]
        noise = np.array([rng.standard_normal(64) for rng in seeds]) * self.noise
        exact = self.student.embed(texts).vectors @ self.turn + self.offset
        return (exact + noise).astype(np.float32)


def sample(teacher: Teacher, count: int, seed: int) -> Sample:
    texts = texts_of(count, seed)
    return Sample(texts, teacher(texts))


def test_a_turned_copy_of_the_teacher_is_perfect_but_for_the_noise(
    student: StudentEmbedder, folder: Path
) -> None:
    exact, noisy = Teacher(student, 0.0), Teacher(student, 0.15)
    reports = [
        measure(
            student,
            encode_teacher=teacher,
            held_out=sample(teacher, 200, 1),
            training=sample(teacher, 400, 2),
            static=folder,
        )
        for teacher in (exact, noisy)
    ]
    good, bad = reports
    assert good["text_source"] == "held_out"
    assert good["texts"] == 200
    assert good["silent_texts"] == 0
    assert good["cosine_basis"] == "aligned"
    assert good["alignment_texts"] == 400
    assert good["mean_cosine"] > 0.999
    assert good["similarity_spearman"] > 0.9  # the offset is not in the student
    assert good["similarity_pairs"] == 200 * 199 // 2
    assert [p["dimensions"] for p in good["prefixes"]] == [32, 40]
    assert good["prefixes"][-1]["mean_cosine"] == good["mean_cosine"]
    assert good["prefixes"][0]["mean_cosine"] is None
    for figure in ("mean_cosine", "p5_cosine", "similarity_spearman", "recall_at_10"):
        assert bad[figure] < good[figure] - 0.02
    assert bad["p5_cosine"] < bad["mean_cosine"]
    assert sum(good["distribution"]["cosines"]["counts"]) == 200
    assert np.sum(good["distribution"]["similarities"]["counts"]) == good["similarity_pairs"]
    json.dumps(good, allow_nan=False)


def test_the_same_arguments_give_the_same_figures(student: StudentEmbedder) -> None:
    teacher = Teacher(student, 0.1)
    held_out = sample(teacher, 120, 1)
    first, second = (
        measure(student, encode_teacher=teacher, held_out=held_out, seed=7) for _ in range(2)
    )
    assert first.pop("measured_speed") is not None
    second.pop("measured_speed")
    assert first == second
    other = measure(student, encode_teacher=teacher, held_out=held_out, seed=8)
    assert other["mean_cosine"] != first["mean_cosine"]  # other folds


def test_the_same_space_is_compared_without_a_map(student: StudentEmbedder) -> None:
    texts = texts_of(60)
    vectors = student.embed(texts).vectors
    report = measure(
        student, encode_teacher=pytest.fail, held_out=Sample(texts, 3 * vectors), same_space=True
    )
    assert report["cosine_basis"] == "teacher"
    assert report["mean_cosine"] == report["p5_cosine"] == report["recall_at_10"] == 1.0
    turned = np.roll(vectors, 1, axis=1)
    report = measure(
        student, encode_teacher=pytest.fail, held_out=Sample(texts, turned), same_space=True
    )
    assert report["mean_cosine"] < 0.5
    assert report["similarity_spearman"] == 1.0


@pytest.mark.parametrize("held_out", [0, 5])
def test_without_enough_texts_the_built_in_ones_are_compared(
    student: StudentEmbedder, held_out: int
) -> None:
    teacher = Teacher(student, 0.05)
    few = sample(teacher, held_out, 1) if held_out else None
    teacher.calls.clear()
    report = measure(student, encode_teacher=teacher, held_out=few)
    assert report["text_source"] == "built_in"
    assert report["texts"] == len(built_in_texts()) == sum(teacher.calls)
    assert report["alignment_texts"] == 0
    assert 0.5 < report["mean_cosine"] < 1.0
    assert report["measured_speed"]["teacher_texts_per_second"] > 0


def test_built_in_texts_are_distinct_and_many() -> None:
    texts = built_in_texts()
    assert len(texts) > 280
    assert len({text.casefold() for text in texts}) == len(texts)


def test_texts_that_the_student_does_not_know_count_as_zero(student: StudentEmbedder) -> None:
    teacher = Teacher(student, 0.0)
    known = sample(teacher, 60, 1)
    unknown = ["日本", "", "語語"]
    vectors = np.concatenate([known.vectors, np.ones((3, 64), np.float32)])
    report = measure(
        student,
        encode_teacher=teacher,
        held_out=Sample([*known.texts, *unknown], vectors),
        training=sample(teacher, 200, 2),
    )
    assert report["silent_texts"] == 3
    assert report["mean_cosine"] == pytest.approx(60 / 63, abs=2e-3)


def test_losses_of_each_type_are_those_of_the_table(student: StudentEmbedder, folder: Path) -> None:
    teacher = Teacher(student, 0.1)
    report = measure(
        student, encode_teacher=teacher, held_out=sample(teacher, 100, 1), static=folder
    )
    by_type = {entry["element_type"]: entry for entry in report["quantizations"]}
    assert list(by_type) == ["float32", "float16", "int8"]
    rows = by_type["float32"]["bytes"] // (4 * DIMENSIONS)
    assert by_type["float16"]["bytes"] == rows * (2 * DIMENSIONS + 4)
    assert by_type["int8"]["bytes"] == rows * (DIMENSIONS + 4)
    assert by_type["float32"]["mean_cosine"] == 1.0
    assert by_type["float32"]["spearman_change"] == 0.0
    assert by_type["float32"]["similarity_spearman"] == report["similarity_spearman"]
    assert 0.999 < by_type["int8"]["mean_cosine"] < 1.0
    assert by_type["int8"]["mean_cosine"] < by_type["float16"]["mean_cosine"]
    coarse = np.random.default_rng(0).standard_normal((rows, DIMENSIONS)).astype(np.float32)
    coarse[:, 0] = 100.0  # all other values drown in the step of this one
    hurt = measure(
        student,
        encode_teacher=teacher,
        held_out=sample(teacher, 100, 1),
        static=folder,
        table=coarse,
    )
    assert hurt["quantizations"][2]["spearman_change"] < -0.001


def test_losses_of_another_kind_of_student_are_given(student: StudentEmbedder) -> None:
    teacher = Teacher(student, 0.1)
    given = [
        {"element_type": "float32", "mean_cosine": 1.0, "bytes": 8, "similarity_spearman": 0.9},
        {"element_type": "int8", "mean_cosine": 0.99, "bytes": 2, "similarity_spearman": 0.875},
        {"element_type": "float16", "mean_cosine": 1.0, "bytes": 4},
    ]
    report = measure(
        student, encode_teacher=teacher, held_out=sample(teacher, 60, 1), quantizations=given
    )
    changes = [entry["spearman_change"] for entry in report["quantizations"]]
    assert changes == [0.0, -0.025, None]


@pytest.mark.parametrize(("whose", "row"), [("teacher", 3), ("student", 4)])
def test_vectors_that_are_not_finite_are_refused(whose: str, row: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
    wrong = vectors.copy()
    wrong[row] = np.nan
    own, given = (wrong, vectors) if whose == "student" else (vectors, wrong)
    broken = SimpleNamespace(embed=lambda texts: SimpleNamespace(vectors=own[: len(texts)]))
    with pytest.raises(FailedPrecondition) as caught:
        measure(broken, encode_teacher=pytest.fail, held_out=Sample(texts_of(60), given))
    assert caught.value.reason == f"{whose.upper()}_NOT_FINITE"


class Waiting:
    def __init__(self, cancel_at: int | None = None) -> None:
        self.calls: list[tuple[str, int, int, str]] = []
        self.checks, self.cancel_at = 0, cancel_at

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        self.calls.append((phase, done, total, unit))

    def check_cancelled(self) -> None:
        self.checks += 1
        if self.checks == self.cancel_at:
            raise Cancelled("asked")


def test_progress_counts_every_text_and_any_check_cancels(
    student: StudentEmbedder, tmp_path: Path
) -> None:
    teacher = Teacher(student, 0.1)
    path = tmp_path / "labels.csv"
    path.write_text(
        "text,label\n" + "".join(f"the card {w},{i % 2}\n" for i, w in enumerate(WORDS))
    )
    arguments = {
        "encode_teacher": teacher,
        "held_out": sample(teacher, 300, 1),
        "training": sample(teacher, 300, 2),
        "evaluations": [read_evaluation("cards", "labels", path)],
        "clock": lambda: 0.0,  # the speed's share of the checks is then the same each time
    }
    context = Waiting()
    measure(student, context=context, **arguments)
    assert {(phase, unit) for phase, _, _, unit in context.calls} == {("report", "texts")}
    done, total = [call[1] for call in context.calls], {call[2] for call in context.calls}
    assert done == sorted(done)
    assert total == {done[-1]} == {600 + 2 * len(WORDS)}
    assert context.checks > 30
    for at in (1, context.checks // 2, context.checks - 1):
        with pytest.raises(Cancelled):
            measure(student, context=Waiting(cancel_at=at), **arguments)


def test_batches_are_bounded_by_texts_and_characters(student: StudentEmbedder) -> None:
    seen: list[list[str]] = []

    def encode(texts: Sequence[str]) -> np.ndarray:
        seen.append(list(texts))
        return np.array([[len(text), 1.0] for text in texts], np.float32)

    texts = (
        ["a" * length for length in (3, 1_000_000, 2000, 1, 5000)] + ["bb"] * 70 + ["c" * 900] * 40
    )
    vectors = Meter(None, 0).by_teacher(encode, texts)
    assert vectors[:, 0].tolist() == [len(text) for text in texts]
    assert sorted(text for batch in seen for text in batch) == sorted(texts)
    assert max(map(len, seen)) == 32
    for batch in seen:
        assert sum(min(len(text), 2048) for text in batch) <= 16_384


def test_speed_is_texts_and_tokens_by_the_clock(student: StudentEmbedder) -> None:
    ticks = iter(range(1000))
    texts = ["the card", "my new bank account"] * 16
    speed = student_speed(student, texts, lambda: next(ticks) * 0.5, lambda: None, seconds=2.0)
    assert speed == {"student_texts_per_second": 64.0, "student_tokens_per_second": 192.0}
    assert student_speed(student, texts, lambda: 1.0, lambda: None) == dict.fromkeys(speed)


class Shard:
    def __init__(self, name: str, count: int) -> None:
        self.name, self.count, self.reads = name, count, 0

    def texts(self) -> list[str]:
        self.reads += 1
        return [f"{self.name} {row}" for row in range(self.count)]


def test_a_sample_of_shards_keeps_texts_and_vectors_together() -> None:
    shards = [Shard(str(i), 7) for i in range(40)]
    vectors = [np.array([[i, row] for row in range(7)], np.float32) for i in range(40)]
    whole = from_shards(shards, lambda i: vectors[i], most=1000)
    assert whole is not None
    assert len(whole) == 280
    part = from_shards(shards, lambda i: vectors[i], most=50, seed=3)
    assert part is not None
    assert len(part) == len(set(part.texts)) == 50
    for found in (whole, part):
        assert found.texts == [f"{i:.0f} {row:.0f}" for i, row in found.vectors]
    assert sum(shard.reads for shard in shards) <= 40 + 16
    assert from_shards([Shard("empty", 0)], lambda i: vectors[i], most=5) is None
