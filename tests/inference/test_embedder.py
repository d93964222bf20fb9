"""Embedding against the definition, option by option, and under threads."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.students import WORDS, byte_bpe, naive_vector, unigram, write_student
from stillroom_registry.errors import Internal, InvalidArgument
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.engines.choose import choose_engine
from stillroom_server.inference.options import EmbedOptions
from stillroom_server.inference.results import TextWarning
from stillroom_server.inference.student_files import StudentFiles
from stillroom_server.inference.tokenizers.base import Ids, Offsets
from stillroom_server.inference.tokenizers.choose import ChosenTokenizer

TOKENIZERS = ["huggingface", "nanotoken"]


def make_texts(count: int, seed: int = 0, longest: int = 40) -> list[str]:
    rng = random.Random(seed)
    words = [*WORDS, "cards", "helping", "漢", "漢字", "héé", "[UNK]", "xyz!", "Ωμέγα"]
    return [" ".join(rng.choices(words, k=rng.randint(1, longest))) for _ in range(count)]


@pytest.fixture(scope="module", params=TOKENIZERS)
def embedder(request: pytest.FixtureRequest, folder: Path) -> StudentEmbedder:
    made = StudentEmbedder.load(folder, tokenizer=request.param)
    assert made.info.tokenizer == request.param
    return made


@pytest.mark.parametrize(
    "options",
    [
        EmbedOptions(),
        EmbedOptions(max_tokens=1),
        EmbedOptions(max_tokens=5),
        EmbedOptions(max_tokens=5, truncate_left=True),
        EmbedOptions(normalize=False),
        EmbedOptions(normalize=False, max_tokens=3, truncate_left=True),
        EmbedOptions(dimensions=7),
        EmbedOptions(dimensions=7, normalize=False),
        EmbedOptions(dimensions=24),
    ],
)
def test_vectors_follow_the_definition(
    embedder: StudentEmbedder, folder: Path, options: EmbedOptions
) -> None:
    texts = [*make_texts(60), "", "漢字 Ωμέγα", "x", "the"]
    expected = [
        naive_vector(
            folder,
            text,
            max_tokens=options.max_tokens or 512,
            left=options.truncate_left,
            normalize=options.normalize is not False,
            dimensions=options.dimensions,
        )
        for text in texts
    ]
    result = embedder.embed(texts, options)
    assert result.vectors.dtype == np.float32
    assert result.vectors.flags.c_contiguous
    assert result.vectors.shape == (len(texts), options.dimensions or 24)
    np.testing.assert_allclose(result.vectors, expected, atol=2e-6)
    for text, row in zip(texts, expected, strict=True):
        np.testing.assert_allclose(embedder.embed([text], options).vectors, [row], atol=2e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("mapping", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
def test_every_stored_form(tmp_path: Path, dtype: str, mapping: bool, normalize: bool) -> None:
    folder = write_student(tmp_path, dtype=dtype, mapping=mapping, weights=True)
    texts = [*make_texts(20), "[UNK]", "漢字"]
    got = StudentEmbedder.load(folder, tokenizer="huggingface").embed(
        texts, EmbedOptions(normalize=normalize)
    )
    expected = [naive_vector(folder, text, normalize=normalize) for text in texts]
    np.testing.assert_allclose(got.vectors, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokenizer_json", [unigram(), byte_bpe()], ids=["unigram", "bpe"])
def test_other_tokenizer_families(tmp_path: Path, tokenizer_json: str) -> None:
    folder = write_student(tmp_path, tokenizer_json=tokenizer_json)
    embedder = StudentEmbedder.load(folder)
    assert embedder.info.tokenizer == "huggingface"
    assert "nanotoken cannot load it" in embedder.info.tokenizer_reason
    texts = [*make_texts(10), "漢字"]
    expected = [naive_vector(folder, text) for text in texts]
    np.testing.assert_allclose(embedder.embed(texts).vectors, expected, atol=2e-6)


def test_counts_truncation_and_warnings(embedder: StudentEmbedder) -> None:
    texts = ["the card", "", " \t", "Ωμέγα", "the Ωμέγα card " * 9, "Ωμέγα the"]
    options = EmbedOptions(max_tokens=4)
    result = embedder.embed(texts, options)
    assert result.tokens.tolist() == [2, 0, 0, 1, 4, 2]
    assert result.tokens.dtype == np.int32
    assert result.truncated.tolist() == [False, False, False, False, True, False]
    assert result.warned() == [
        (1, TextWarning.EMPTY),
        (2, TextWarning.EMPTY),
        (3, TextWarning.ALL_UNKNOWN),
    ]
    assert not result.vectors[[1, 2, 3]].any()
    assert result.timings.tokenize > 0
    assert result.timings.infer > 0
    for index, text in enumerate(texts):
        alone = embedder.embed([text], options)
        assert alone.tokens[0] == result.tokens[index]
        assert alone.truncated[0] == result.truncated[index]
        assert alone.warnings[0] == result.warnings[index]


def test_unknown_tokens_are_cut_before_they_are_dropped(embedder: StudentEmbedder) -> None:
    result = embedder.embed(["Ωμέγα Ωμέγα the"], EmbedOptions(max_tokens=2))
    assert result.warned() == [(0, TextWarning.ALL_UNKNOWN)]


def test_no_texts(embedder: StudentEmbedder) -> None:
    result = embedder.embed([])
    assert result.vectors.shape == (0, 24)
    assert [len(part) for part in (result.tokens, result.truncated, result.warnings)] == [0, 0, 0]


def test_prompts(embedder: StudentEmbedder) -> None:
    plain = embedder.embed(["please help me: the card", "please help me: "])
    named = embedder.embed(["the card", " "], EmbedOptions(prompt_name="query"))
    given = embedder.embed(["the card", ""], EmbedOptions(prompt="please help me: "))
    np.testing.assert_array_equal(named.vectors, plain.vectors)
    np.testing.assert_array_equal(given.vectors, plain.vectors)
    assert named.warned() == given.warned() == [(1, TextWarning.EMPTY)]
    alone = embedder.embed([""], EmbedOptions(prompt_name="query"))
    assert alone.warned() == [(0, TextWarning.EMPTY)]
    assert embedder.embed(["the"], EmbedOptions(prompt_name="none")).tokens.tolist() == [1]
    assert embedder.cost(["ab", "cde"]) == 5
    assert embedder.cost(["ab", "cde"], EmbedOptions(prompt="1234")) == 13


@pytest.mark.parametrize(
    ("options", "reason", "field"),
    [
        (EmbedOptions(max_tokens=0), "MAX_TOKENS_OUT_OF_RANGE", "options.max_tokens"),
        (EmbedOptions(max_tokens=-1), "MAX_TOKENS_OUT_OF_RANGE", "options.max_tokens"),
        (EmbedOptions(max_tokens=513), "MAX_TOKENS_OUT_OF_RANGE", "options.max_tokens"),
        (EmbedOptions(dimensions=0), "DIMENSIONS_OUT_OF_RANGE", "options.dimensions"),
        (EmbedOptions(dimensions=25), "DIMENSIONS_OUT_OF_RANGE", "options.dimensions"),
        (EmbedOptions(prompt_name="nope"), "PROMPT_NOT_FOUND", "options.prompt_name"),
        (EmbedOptions(prompt="a", prompt_name="query"), "PROMPT_CONFLICT", "options.prompt_name"),
        (EmbedOptions(prompt="a" * 8193), "PROMPT_TOO_LONG", "options.prompt"),
    ],
)
def test_wrong_options_are_refused_before_any_text_is_touched(
    embedder: StudentEmbedder, options: EmbedOptions, reason: str, field: str
) -> None:
    class Untouchable(list[str]):
        def __iter__(self) -> Iterator[str]:
            raise AssertionError("texts were read")

        __len__ = __iter__  # type: ignore[assignment]

    with pytest.raises(InvalidArgument) as caught:
        embedder.embed(Untouchable(), options)
    assert caught.value.reason == reason
    assert caught.value.field == field
    with pytest.raises(InvalidArgument):
        embedder.validate(options)


def test_too_long_without_truncate(embedder: StudentEmbedder) -> None:
    options = EmbedOptions(truncate=False, max_tokens=3)
    assert embedder.embed(["the card has", "the"], options).tokens.tolist() == [3, 1]
    texts = ["the", "the card has not", "the card", "the card has not arrived"]
    for some, field in ((texts, "texts[1]"), (texts[1:2], "texts[0]")):
        with pytest.raises(InvalidArgument) as caught:
            embedder.embed(some, options)
        assert caught.value.reason == "TEXT_TOO_LONG"
        assert caught.value.field == field
        assert caught.value.metadata == {"tokens": "4", "limit": "3"}
        assert "4 tokens" in caught.value.message


def test_strings_that_are_no_text(embedder: StudentEmbedder) -> None:
    for texts, field in ((["a", "b\ud800c"], "texts[1]"), (["\udfff"], "texts[0]")):
        for call in (embedder.embed, embedder.tokenize):
            with pytest.raises(InvalidArgument) as caught:
                call(texts)
            assert (caught.value.reason, caught.value.field) == ("INVALID_UTF8", field)
    with pytest.raises(InvalidArgument) as caught:
        embedder.embed(["a", 7])  # type: ignore[list-item]
    assert caught.value.field == "texts[1]"
    assert "int" in caught.value.message


def test_nul_is_text(embedder: StudentEmbedder) -> None:
    np.testing.assert_array_equal(
        embedder.embed(["the\x00card"]).vectors, embedder.embed(["thecard"]).vectors
    )


class Exploding:
    """A tokenizer whose compiled code panics."""

    name = "exploding"
    nbytes = 0

    class PanicException(BaseException):
        pass

    def encode(self, texts: object) -> tuple[Ids, Offsets]:
        raise self.PanicException("index out of bounds")

    def encode_one(self, text: str) -> Ids:
        return self.encode([text])[0]


def test_a_panic_of_compiled_code_becomes_an_error(folder: Path) -> None:
    files = StudentFiles.load(folder)
    embedder = StudentEmbedder(
        ChosenTokenizer(Exploding(), "test"),
        choose_engine(files, "gather"),
        max_tokens=512,
        unk_id=1,
        prompts={},
        tokenizer_json=files.tokenizer_json,
    )
    with pytest.raises(Internal) as caught:
        embedder.embed(["a"])
    assert caught.value.reason == "TOKENIZER_FAILED"


def test_ten_megabytes_in_one_text(folder: Path) -> None:
    """Were it quadratic anywhere, the test would not end in the time that all tests have."""
    embedder = StudentEmbedder.load(folder, tokenizer="nanotoken")
    text = "the card has arrived " * 500_000
    result = embedder.embed([text, "the card", "x" * 1_000_000])
    assert result.tokens.tolist() == [512, 2, 1]
    assert result.truncated.tolist() == [True, False, False]
    expected = embedder.embed([text[: 600 * 21], "the"]).vectors[0]
    np.testing.assert_array_equal(result.vectors[0], expected)


def test_threads_with_different_options_do_not_meet(embedder: StudentEmbedder) -> None:
    texts = make_texts(40, seed=3)
    wishes = [
        (texts[start : start + size], EmbedOptions(max_tokens=limit, truncate_left=left))
        for start, size in ((0, 1), (5, 7), (0, 40))
        for limit in (1, 2, 5, 9, 512)
        for left in (False, True)
    ]
    wishes += [(some, replace(how, dimensions=5, normalize=False)) for some, how in wishes]
    alone = [embedder.embed(some, how) for some, how in wishes]

    def check(worker: int) -> int:
        order = random.Random(worker).sample(range(len(wishes)), len(wishes))
        for index in order:
            result = embedder.embed(*wishes[index])
            np.testing.assert_array_equal(result.vectors, alone[index].vectors)
            np.testing.assert_array_equal(result.tokens, alone[index].tokens)
            np.testing.assert_array_equal(result.truncated, alone[index].truncated)
        return len(order)

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(check, range(12))) == 12 * len(wishes)


def test_tokenize(embedder: StudentEmbedder) -> None:
    first, second = embedder.tokenize(["Cards  é!", ""])
    assert first.tokens == ["card", "##s", "e", "!"]
    assert list(zip(first.starts, first.ends, strict=True)) == [(0, 4), (4, 5), (7, 8), (8, 9)]
    assert len(first.ids) == 4
    assert second.ids == []
    (cut,) = embedder.tokenize(["Cards é!"], max_tokens=2)
    assert [len(part) for part in cut] == [2, 2, 2, 2]


def test_serving_imports_nothing_heavy(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from stillroom_server.inference.models import ModelPool\n"
        "from stillroom_server.inference.embedder import StudentEmbedder\n"
        "StudentEmbedder.load(Path(sys.argv[1])).embed(['the card'])\n"
        "heavy = ('torch', 'transformers', 'onnx', 'onnxruntime', 'scipy.sparse', 'model2vec')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == "[]"
