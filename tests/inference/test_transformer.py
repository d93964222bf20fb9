"""Transformer students against the definition, option by option, and under threads."""

from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from inference.test_embedder import make_texts
from inference.transformers import naive, write_transformer
from stillroom_registry.errors import FailedPrecondition, Internal, InvalidArgument
from stillroom_server.inference.embedders import load_embedder
from stillroom_server.inference.options import EmbedOptions
from stillroom_server.inference.results import TextWarning
from stillroom_server.inference.transformer import graph as graphs
from stillroom_server.inference.transformer.embedder import TransformerEmbedder


def load(folder: Path, tokenizer: str = "auto") -> TransformerEmbedder:
    made = load_embedder(folder, tokenizer=tokenizer)
    assert isinstance(made, TransformerEmbedder)
    return made


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transformer(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module", params=["huggingface", "nanotoken"])
def embedder(request: pytest.FixtureRequest, encoder: Path) -> TransformerEmbedder:
    made = load(encoder, request.param)
    assert made.info.tokenizer == request.param
    return made


@pytest.mark.parametrize(
    "options",
    [
        EmbedOptions(),
        EmbedOptions(max_tokens=3),
        EmbedOptions(max_tokens=7),
        EmbedOptions(max_tokens=7, truncate_left=True),
        EmbedOptions(dimensions=5),
        EmbedOptions(dimensions=5, normalize=False),
    ],
)
def test_vectors_follow_the_definition(
    embedder: TransformerEmbedder, encoder: Path, options: EmbedOptions
) -> None:
    texts = [*make_texts(150), "", "漢字 Ωμέγα", "x", "the"]
    expected = [
        naive(
            encoder,
            text,
            max_tokens=options.max_tokens or 40,
            left=options.truncate_left,
            normalize=options.normalize is not False,
            dimensions=options.dimensions,
        )
        for text in texts
    ]
    result = embedder.embed(texts, options)
    assert result.vectors.dtype == np.float32
    assert result.vectors.flags.c_contiguous
    np.testing.assert_allclose(result.vectors, expected, atol=2e-6)
    for text, row in zip(texts[-8:], expected[-8:], strict=True):
        np.testing.assert_allclose(embedder.embed([text], options).vectors, [row], atol=2e-6)


def test_without_a_normalizing_module_the_graphs_own_output_is_given(tmp_path: Path) -> None:
    folder = write_transformer(tmp_path, normalize=False)
    texts = make_texts(9)
    embedder = load(folder)
    raw = embedder.embed(texts, EmbedOptions(normalize=False)).vectors
    np.testing.assert_allclose(raw, [naive(folder, t, normalize=False) for t in texts], atol=1e-5)
    unit = embedder.embed(texts).vectors
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-6)
    assert np.abs(np.linalg.norm(raw, axis=1) - 1).min() > 1e-3


def test_counts_truncation_and_warnings(embedder: TransformerEmbedder) -> None:
    texts = ["the card", "", " \t", "Ωμέγα", "the Ωμέγα card " * 9]
    result = embedder.embed(texts, EmbedOptions(max_tokens=6))
    assert result.tokens.tolist() == [4, 2, 2, 3, 6]
    assert result.tokens.dtype == np.int32
    assert result.truncated.tolist() == [False, False, False, False, True]
    # As teachers do: an empty text has the vector of its special tokens.
    assert result.warned() == [(1, TextWarning.EMPTY), (2, TextWarning.EMPTY)]
    assert result.vectors.any(axis=1).all()
    assert min(result.timings.tokenize, result.timings.infer) > 0
    assert embedder.embed([]).vectors.shape == (0, 16)


def test_prompts(embedder: TransformerEmbedder, tmp_path: Path) -> None:
    plain = embedder.embed(["please help me: the card", "please help me: "])
    named = embedder.embed(["the card", " "], EmbedOptions(prompt_name="query"))
    np.testing.assert_allclose(named.vectors, plain.vectors, atol=1e-6)
    assert named.warned() == [(1, TextWarning.EMPTY)]
    shared = {"prompts": {"q": "please help me: "}, "default_prompt_name": "q"}
    changed = {"config_sentence_transformers.json": shared}
    default = load(write_transformer(tmp_path / "a", files=changed))
    np.testing.assert_allclose(default.embed(["the card"]).vectors, plain.vectors[:1], atol=1e-6)
    bare = default.embed(["the card"], EmbedOptions(prompt=""))
    np.testing.assert_allclose(bare.vectors, embedder.embed(["the card"]).vectors, atol=1e-6)
    pooling = {"1_Pooling/config.json": {"include_prompt": False}}
    with pytest.raises(FailedPrecondition) as caught:
        load(write_transformer(tmp_path / "b", files=pooling)).embed(
            ["a"], EmbedOptions(prompt="b")
        )
    assert caught.value.reason == "PROMPT_UNAVAILABLE"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (EmbedOptions(max_tokens=2), "MAX_TOKENS_OUT_OF_RANGE"),
        (EmbedOptions(max_tokens=41), "MAX_TOKENS_OUT_OF_RANGE"),
        (EmbedOptions(dimensions=17), "DIMENSIONS_OUT_OF_RANGE"),
        (EmbedOptions(prompt_name="nope"), "PROMPT_NOT_FOUND"),
    ],
)
def test_wrong_options(embedder: TransformerEmbedder, options: EmbedOptions, reason: str) -> None:
    for call in (embedder.validate, lambda how: embedder.submit(["a"], how)):
        with pytest.raises(InvalidArgument) as caught:
            call(options)
        assert caught.value.reason == reason


def test_texts_at_fault_are_named(embedder: TransformerEmbedder) -> None:
    options = EmbedOptions(truncate=False, max_tokens=5)
    assert embedder.embed(["the card has"], options).tokens.tolist() == [5]
    with pytest.raises(InvalidArgument) as caught:
        embedder.embed(["the", "the card has not"], options)
    assert caught.value.reason == "TEXT_TOO_LONG"
    assert caught.value.field == "texts[1]"
    assert caught.value.metadata == {"tokens": "6", "limit": "5"}
    for call in (embedder.embed, embedder.tokenize):
        with pytest.raises(InvalidArgument) as caught:
            call(["a", "b\ud800c"])
        assert (caught.value.reason, caught.value.field) == ("INVALID_UTF8", "texts[1]")


def test_tokenize_shows_special_tokens(embedder: TransformerEmbedder) -> None:
    (first,) = embedder.tokenize(["Cards"])
    assert first.tokens == ["[CLS]", "card", "##s", "[SEP]"]
    assert embedder.tokenize(["Cards"], 2)[0].tokens == ["[CLS]", "card"]


def test_a_graph_that_depends_on_its_batch_gets_one_text_a_run(tmp_path: Path) -> None:
    embedder = load(write_transformer(tmp_path, batch_dependent=True))
    assert "one text a run" in embedder.info.engine_reason
    texts = make_texts(30)
    together = embedder.embed(texts).vectors
    alone = np.concatenate([embedder.embed([text]).vectors for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_a_batch_is_within_its_budget_and_the_longest_come_first(encoder: Path) -> None:
    embedder = load(encoder)
    assert "the same in any batch" in embedder.info.engine_reason
    lengths = np.random.default_rng(0).integers(1, 300, 500)
    runs = embedder._graph.plan(lengths)
    assert sorted(np.concatenate(runs).tolist()) == list(range(500))
    longest = [int(lengths[rows].max()) for rows in runs]
    assert longest == sorted(longest, reverse=True)
    padded = [len(rows) * top for rows, top in zip(runs, longest, strict=True)]
    assert max(padded) <= graphs.BATCH_TOKENS
    assert sum(padded) < 1.2 * lengths.sum()


def test_threads_with_different_options_do_not_meet(embedder: TransformerEmbedder) -> None:
    texts = make_texts(60, seed=3)
    wishes = [
        (texts[start : start + size], EmbedOptions(max_tokens=limit, truncate_left=left))
        for start, size in ((0, 1), (5, 7), (0, 60))
        for limit in (3, 5, 9, 40)
        for left in (False, True)
    ]
    alone = [embedder.embed(some, how) for some, how in wishes]

    def check(worker: int) -> int:
        order = random.Random(worker).sample(range(len(wishes)), len(wishes))
        for index in order:
            result = embedder.embed(*wishes[index])
            np.testing.assert_array_equal(result.vectors, alone[index].vectors)
            np.testing.assert_array_equal(result.tokens, alone[index].tokens)
        return len(order)

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(check, range(8))) == 8 * len(wishes)


def test_a_run_that_fails_is_an_error_of_ours(
    encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = load(encoder)

    def fail(*_: object) -> None:
        raise RuntimeError("bad allocation")

    monkeypatch.setattr(embedder._graph, "run", fail)
    with pytest.raises(Internal, match="bad allocation") as caught:
        embedder.embed(make_texts(200))
    assert caught.value.reason == "STUDENT_FAILED"


def test_serving_imports_nothing_that_trains(encoder: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from stillroom_server.inference.embedders import load_embedder\n"
        "load_embedder(Path(sys.argv[1]), tokenizer='huggingface').embed(['the card'])\n"
        "heavy = ('torch', 'transformers', 'onnx', 'sentence_transformers')\n"
        "print([name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(encoder)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.strip() == "[]"
