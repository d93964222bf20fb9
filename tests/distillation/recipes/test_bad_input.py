"""What people give that is not as it should be, through the whole of a distillation."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distillation.contexts import Killed
from distillation.recipes.conftest import Whole
from distillation.recipes.room import (
    TEXTS,
    TRAINED,
    WORDS,
    Room,
    asking,
    check_nothing_leaked,
    sentences,
)
from safetensors.numpy import load_file, save_file

from stillroom_registry.errors import FailedPrecondition, InvalidArgument, StillroomError
from stillroom_registry.registry import ModelKind

Maker = Callable[[str], Path]


def refused(room: Room, request: Any, reason: str, field: str | None = None) -> StillroomError:
    """The error of a request, which registers nothing."""
    with pytest.raises(StillroomError) as caught:
        room.distill(request)
    assert (caught.value.reason, caught.value.field) == (reason, field), caught.value
    assert not room.has("small")
    check_nothing_leaked(room.registry)
    return caught.value


def from_file(room: Room, recipe: str, content: bytes) -> dict[str, Any]:
    """A request whose corpus is a file of this content."""
    path = room.root / "corpus.txt"
    path.write_bytes(content)
    room.settings["allow_root"] = [str(room.root)]
    return {**asking(recipe), "corpus": {"path": str(path)}}


@pytest.mark.parametrize("recipe", [*TRAINED, "auto"])
def test_a_corpus_of_nothing(room: Room, recipe: str) -> None:
    refused(room, from_file(room, recipe, b""), "CORPUS_EMPTY", "corpus")
    refused(room, from_file(room, recipe, b" \n\t\n\n"), "CORPUS_EMPTY", "corpus")
    refused(room, asking(recipe, texts=["", " "]), "CORPUS_EMPTY", "corpus.texts")


def test_a_file_in_another_encoding(room: Room) -> None:
    latin = "\n".join(["the quick fox"] * 20 + ["café"]).encode("latin-1")
    request = from_file(room, "static_tuned", latin)
    error = refused(room, request, "CORPUS_NOT_UTF8", "corpus.path")
    assert "line 21" in error.message


@pytest.mark.slow
@pytest.mark.parametrize("recipe", TRAINED)
def test_duplicates_and_blank_lines_change_nothing(room: Room, whole: Whole, recipe: str) -> None:
    lines = [line for text in TEXTS for line in (text, "", text)]
    report = room.distill(asking(recipe, texts=[*lines, *TEXTS]))["report"]
    assert room.bytes_of() == whole(recipe)
    assert report["corpus"]["duplicates"] == 2 * len(TEXTS)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", TRAINED)
def test_a_line_of_a_megabyte(room: Room, recipe: str) -> None:
    """One with spaces, one without."""
    long = ["the quick fox " * 75_000, "x" * 1_000_000]
    content = "\n".join([*TEXTS, *long]).encode()
    report = room.distill(from_file(room, recipe, content))["report"]
    assert report["corpus"]["cut"] == 2
    assert report["corpus"]["texts"] == len(TEXTS) + 2
    assert report["mean_cosine"] is None or np.isfinite(report["mean_cosine"])


@pytest.mark.parametrize("count", [127, pytest.param(1, marks=pytest.mark.slow)])
def test_auto_makes_something_of_any_corpus(room: Room, count: int) -> None:
    report = room.distill(asking("auto", texts=sentences(count)))["report"]
    assert (report["recipe"], report["corpus"]["texts"]) == ("static", count)


@pytest.mark.parametrize("count", [1, 2, 10])
def test_too_few_texts_to_tune_with(room: Room, count: int) -> None:
    """Fewer than the student has dimensions, and than would judge it."""
    error = refused(room, asking("static_tuned", sentences(count)), "CORPUS_TOO_SMALL", "corpus")
    assert str(count) in error.message


@pytest.mark.parametrize("count", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_transformer_of_few_texts(room: Room, count: int) -> None:
    """It has its teacher's weights to begin with."""
    report = room.distill(asking("transformer", sentences(count)))["report"]
    assert report["text_source"] == "built_in"
    folder = room.registry.folder(room.registry.resolve("small"))
    weights = load_file(folder / "model.safetensors")
    assert all(np.isfinite(value).all() for value in weights.values())


@pytest.mark.slow
def test_a_corpus_of_one_word(room: Room) -> None:
    """As many texts as it takes, of which all say the same."""
    texts = ["the " * (count + 1) for count in range(140)]
    report = room.distill(asking("static_tuned", texts))["report"]
    assert report["dimensions"] == 12


def test_a_corpus_of_unknown_words(room: Room) -> None:
    texts = ["".join(chr(0x4E00 + at + step) for step in range(9)) for at in range(0, 1400, 9)]
    with pytest.raises(FailedPrecondition) as caught:
        room.distill(asking("static_tuned", texts))
    assert caught.value.reason in ("NO_KNOWN_TOKENS", "TEACHER_CONSTANT")


def damaged(room: Room, source: Path, name: str, value: float) -> None:
    """A teacher one of whose rows (of a word of the corpus) holds what is no number."""
    folder = Path(shutil.copytree(source, room.root / name))
    weights = load_file(folder / "model.safetensors")
    key = next(key for key in weights if key.endswith("word_embeddings.weight"))
    table = weights[key].copy()
    table[:] = value
    save_file({**weights, key: table}, folder / "model.safetensors", {"format": "pt"})
    room.registry.publish(name, ModelKind.TEACHER, folder)


@pytest.mark.parametrize("recipe", ["static", *TRAINED])
def test_a_teacher_that_gives_no_numbers(room: Room, teacher_of: Maker, recipe: str) -> None:
    damaged(room, teacher_of("bert"), "nan", float("nan"))
    refused(room, {**asking(recipe), "teacher": "nan"}, "TEACHER_NOT_FINITE", "teacher")
    assert not room.cached


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["static", *TRAINED])
def test_a_teacher_whose_vocabulary_is_smaller_than_its_table(
    room: Room, teacher_of: Maker, recipe: str
) -> None:
    room.registry.publish("padded", ModelKind.TEACHER, teacher_of("qwen3"))
    room.distill({**asking(recipe), "teacher": "padded"})
    version = room.registry.resolve("small")
    if recipe == "static":
        table = load_file(room.registry.folder(version) / "model.safetensors")["embeddings"]
        assert len(table) < 512


@pytest.mark.parametrize(
    ("recipe", "options", "field"),
    [
        ("static", {"dimensions": 33}, "static.dimensions"),
        ("static_tuned", {"static": {"dimensions": 33}}, "static_tuned.static.dimensions"),
        ("transformer", {"dimensions": 33}, "transformer.dimensions"),
        ("transformer", {"layers": 3}, "transformer.layers"),
        (
            "static_tuned",
            {"static": {"dimensions": 8}, "matryoshka_dimensions": [9]},
            "static_tuned.matryoshka_dimensions[0]",
        ),
    ],
)
def test_more_than_the_teacher_has(
    room: Room, recipe: str, options: dict[str, Any], field: str
) -> None:
    request = {**asking(recipe), "recipe": {recipe: options}}
    with pytest.raises(InvalidArgument) as caught:
        room.distill(request)
    assert caught.value.field == field


def test_a_prompt_that_the_teacher_does_not_have(room: Room) -> None:
    request = asking("static_tuned")
    request["recipe"]["static_tuned"]["static"]["prompt_name"] = "none such"
    refused(room, request, "UNKNOWN_PROMPT", "static_tuned.static.prompt_name")


@pytest.mark.parametrize("recipe", [TRAINED[0], pytest.param(TRAINED[1], marks=pytest.mark.slow)])
def test_a_corpus_file_that_vanishes_after_it_was_read(
    room: Room, whole: Whole, recipe: str
) -> None:
    request = from_file(room, recipe, "\n".join(TEXTS).encode())
    context = room.context()
    context.die_at = 1
    with pytest.raises(Killed):
        room.attempt(request, context)
    (room.root / "corpus.txt").unlink()
    context.die_at = 0
    room.distill(request, context)
    assert room.bytes_of() == whole(recipe)


def test_words_of_these_tests_are_known_to_the_teacher() -> None:
    """Else nothing here would be learned."""
    assert len(WORDS) > 30
