"""What a recipe is expected to take: against the files that it makes, and in its proportions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distillation.recipes.jobs import PROBE, job_of
from distillation.recipes.room import Room, asking, sentences
from safetensors.numpy import save_file

from stillroom_registry.errors import Cancelled
from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.quantizing.options import QuantizeOptions
from stillroom_server.distillation.recipes import outlook
from stillroom_server.distillation.transformer.options import TransformerOptions
from stillroom_server.distillation.tuning.options import (
    DEFAULT_PAIRS,
    DEFAULT_WORDS,
    TunedOptions,
)


def test_static_embeds_every_row_once() -> None:
    found = outlook.static(PROBE, StaticOptions(dimensions=64, add_words=("one", "two")))
    twice = outlook.static(replace(PROBE, tokens_per_second=500.0), StaticOptions())
    rows = PROBE.rows + 2
    assert found.result_bytes >= rows * 64 * 2
    assert found.result_bytes < 1.1 * rows * 64 * 2
    assert twice.seconds - outlook.static(PROBE, StaticOptions()).seconds == PROBE.rows / 1000


@pytest.mark.parametrize(("element_type", "size"), [("float32", 4), ("float16", 2), ("int8", 1)])
def test_bytes_follow_the_element_type(element_type: str, size: int) -> None:
    options = StaticOptions(dimensions=64, element_type=element_type)
    rows = outlook.static(PROBE, options).result_bytes / PROBE.rows
    assert 64 * size <= rows <= 64 * size + 4


def test_no_dimensions_are_the_teachers() -> None:
    full = outlook.static(PROBE, StaticOptions(dimensions=None, element_type="float32"))
    assert full.result_bytes >= PROBE.rows * PROBE.dim * 4


def test_a_tuned_student_takes_what_a_static_one_does_and_more() -> None:
    options = TunedOptions(StaticOptions(dimensions=64))
    before, after = outlook.static(PROBE, options.static), outlook.tuned(PROBE, options, 1000)
    assert after.seconds > before.seconds + 1000 / PROBE.texts_per_second
    assert after.memory_bytes > before.memory_bytes
    least = outlook.tuned(PROBE, options, 1000, whole=False)
    assert before.seconds < least.seconds < after.seconds
    assert (least.memory_bytes, least.result_bytes) == (after.memory_bytes, after.result_bytes)


def test_grown_words_are_rows_also_where_the_server_chooses_how_many() -> None:
    options = TunedOptions(StaticOptions(dimensions=64), grow_words=0, grow_pairs=0)
    none = outlook.tuned(PROBE, options, 1000).result_bytes
    chosen = outlook.tuned(PROBE, TunedOptions(options.static), 1000).result_bytes
    assert chosen - none >= (DEFAULT_WORDS + DEFAULT_PAIRS) * 64 * 2


def test_a_limit_to_training_is_in_the_outlook() -> None:
    options = TunedOptions(max_epochs=50)
    free = outlook.tuned(PROBE, options, 100_000).seconds
    limited = outlook.tuned(PROBE, replace(options, time_budget_seconds=5), 100_000).seconds
    assert free - limited == pytest.approx(outlook.training_seconds(options, 100_000) - 5)
    student = TransformerOptions(time_budget_seconds=5)
    assert outlook.transformer(PROBE, student, 100_000, (3, 6)).seconds < 8 + 5 + 1001


def test_layers_and_epochs_make_a_transformer_longer() -> None:
    def seconds(layers: int, epochs: int) -> float:
        options = TransformerOptions(max_epochs=epochs)
        return outlook.transformer(PROBE, options, 1000, (layers, 6)).seconds

    assert seconds(3, 1) < seconds(6, 1) < seconds(6, 3)


def weights(folder: Path, dtype: Any, **more: Any) -> Path:
    table = np.zeros((300, 16), dtype=dtype)
    save_file({"embeddings": table, **more}, folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_quantizing_is_told_by_what_is_written_whatever_was_read(
    tmp_path: Path, dtype: Any
) -> None:
    found = outlook.quantized(weights(tmp_path, dtype), QuantizeOptions("int8"))
    assert found.result_bytes == 300 * (16 + 4)


def test_shared_rows_are_fewer_and_cost_two_numbers_a_token(tmp_path: Path) -> None:
    path = weights(tmp_path, np.float32)
    found = outlook.quantized(path, QuantizeOptions("int8", vocabulary_clusters=20))
    assert found.result_bytes == 20 * (16 + 4) + 300 * 12
    shared = weights(tmp_path, np.float32, mapping=np.zeros(1000, dtype=np.int64))
    assert outlook.quantized(shared, QuantizeOptions("int8")).result_bytes == 300 * 20 + 12_000


def test_a_probe_measures_this_teacher_and_these_texts(room: Room) -> None:
    job = job_of(room, asking("auto", texts=sentences(40)))
    ticks = iter(range(0, 100, 2))
    found = outlook.probe(job, clock=lambda: float(next(ticks)))
    assert (found.dim, found.texts_per_second, found.tokens_per_second) == (32, 15.0, 512.0)
    size = (job.folder / "model.safetensors").stat().st_size
    assert found.bytes == size
    assert found.rows > 150
    assert outlook.probe(job_of(room, asking("auto", texts=None))).texts_per_second == 0.0


def test_a_probe_can_be_cancelled(room: Room) -> None:
    job = job_of(room, asking("auto", texts=sentences(40)))
    job.context.cancel_in = "corpus"  # type: ignore[attr-defined]
    job.context.phases.append("corpus")  # type: ignore[attr-defined]
    with pytest.raises(Cancelled):
        outlook.probe(job)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["static", "static_tuned", "transformer"])
def test_what_is_made_is_no_larger_than_it_was_expected_to_be(room: Room, recipe: str) -> None:
    """The largest file of weights against the outlook of the same request."""
    from stillroom_server.distillation.recipes import choose

    request = asking(recipe)
    job = job_of(room, request)
    found = outlook.probe(job)
    (choice,) = choose._candidates(job)
    expected, _ = choose._outlooks(job, choice, found)
    room.distill(request)
    made = {file.path: file.size for file in room.registry.resolve("small").files}
    header = 1024
    assert made["model.safetensors"] <= expected.result_bytes + header
