"""Teachers give what sentence-transformers gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distillation.conftest import KINDS
from distillation.teachers import DECODERS, TEXTS, with_modules
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import Dropout, LayerNorm, Pooling

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.teacher import Teacher

Maker = Callable[[str], Path]
HARD = [
    *TEXTS,
    "<pad> in a text <s> the [PAD] dog </s> [SEP] x <|endoftext|> y",
    "  double  spaces\tand\nnewlines ",
    "Ünïcödé 😀 emoji",
    "a",
    "who? " * 100,
]
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


def least_cosine(a: np.ndarray, b: np.ndarray) -> float:
    assert a.shape == b.shape
    products = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return float(products.min())


def compare(folder: Path, **how: Any) -> Teacher:
    """Holds both to each other, the texts in one padded batch and each alone."""
    teacher = Teacher.load(folder, "cpu", "float32")
    library = SentenceTransformer(str(folder), device="cpu")
    ours = teacher.encode(HARD, **how)
    for theirs in (
        library.encode(HARD, **how),
        np.concatenate([library.encode([text], **how) for text in HARD]),
        np.concatenate([teacher.encode([text], **how) for text in HARD]),
    ):
        assert least_cosine(ours, theirs) >= 0.99999
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    return teacher


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_transformer_encodes_as_sentence_transformers_does(
    teacher_of: Maker, kind: str
) -> None:
    teacher = compare(teacher_of(kind))
    assert teacher.dim == 32
    assert teacher.tokenizer.max_tokens == 64


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_under_modules_and_a_prompt(
    teacher_of: Maker, tmp_path: Path, kind: str
) -> None:
    """As such models are published: the last token's vector of a decoder, else the mean."""
    mode = "lasttoken" if kind in DECODERS else "mean"
    folder = with_modules(
        teacher_of(kind),
        tmp_path / "st",
        lambda: Pooling(32, pooling_mode=mode),
        lambda: Dense(32, 24, activation_function=torch.nn.SiLU()),
        Normalize,
        prompts={"query": "the house: ", "document": ""},
    )
    assert compare(folder).dim == 24
    compare(folder, prompt_name="query")


@pytest.mark.parametrize("kind", ["qwen3", "bert"])
def test_a_text_that_is_cut_loses_the_end_that_the_tokenizer_says(
    teacher_of: Maker, tmp_path: Path, kind: str
) -> None:
    folder = Path(shutil.copytree(teacher_of(kind), tmp_path / "t"))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "truncation_side": "left"}))
    assert (
        compare(folder).tokenizer.encode(["dog " * 99 + "fox"])[0][-2:]
        != (Teacher.load(teacher_of(kind), "cpu").tokenizer.encode(["dog " * 99 + "fox"])[0][-2:])
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_text_without_tokens_is_zeros_and_no_neighbor_notices(
    teacher_of: Maker, tmp_path: Path, mode: str
) -> None:
    bare = Path(shutil.copytree(teacher_of("qwen3"), tmp_path / "bare"))
    tokenizer = json.loads((bare / "tokenizer.json").read_text())
    (bare / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}))
    folder = with_modules(bare, tmp_path / "st", lambda: Pooling(32, pooling_mode=mode), Normalize)
    teacher = Teacher.load(folder, "cpu", "float32")
    texts = ["the dog", "", "a fox and the dog"]
    found = teacher.encode(texts)
    assert not found[1].any()
    theirs = SentenceTransformer(str(folder), device="cpu").encode(texts[::2])
    np.testing.assert_allclose(found[::2], theirs, atol=1e-5)
    np.testing.assert_array_equal(teacher.encode([""]), np.zeros((1, 32)))


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize("texts", [TEXTS, ["dog"], ["the dog", "dog dog"], HARD])
def test_our_forward_pass_is_transformers(teacher_of: Maker, kind: str, texts: list[str]) -> None:
    ours = Teacher.load(teacher_of(kind), "cpu", "float32")
    theirs = Teacher.load(teacher_of(kind), "cpu", "float32", native=False)
    assert type(ours.encoder) is not type(theirs.encoder)
    np.testing.assert_allclose(ours.encode(texts), theirs.encode(texts), atol=2e-5)


@pytest.mark.parametrize("mode", [*MODES, ("cls", "mean"), MODES])
def test_every_pooling_mode(teacher_of: Maker, tmp_path: Path, mode: str | tuple[str, ...]) -> None:
    folder = with_modules(
        teacher_of("bert"), tmp_path / "st", lambda: Pooling(32, pooling_mode=mode)
    )
    compare(folder)


def test_old_pooling_flags(bert: Path) -> None:
    (bert / "modules.json").write_text(
        '[{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},'
        ' {"idx": 1, "name": "1", "path": "1_Pooling",'
        '  "type": "sentence_transformers.models.Pooling"}]'
    )
    (bert / "1_Pooling").mkdir()
    (bert / "1_Pooling" / "config.json").write_text(
        '{"word_embedding_dimension": 32, "pooling_mode_cls_token": true,'
        ' "pooling_mode_mean_tokens": false, "pooling_mode_max_tokens": true}'
    )
    assert compare(bert).dim == 64


def test_every_module_prompts_and_a_pooling_without_the_prompt(
    teacher_of: Maker, tmp_path: Path
) -> None:
    folder = with_modules(
        teacher_of("xlm-roberta"),
        tmp_path / "st",
        lambda: Pooling(32, include_prompt=False),
        lambda: Dense(32, 24, activation_function=torch.nn.GELU()),
        lambda: Dense(24, 24, bias=False, use_residual=True),
        lambda: LayerNorm(24),
        Dropout,
        Normalize,
        prompts={"query": "the house: ", "other": "who? "},
        default_prompt_name="other",
    )
    for how in ({}, {"prompt_name": "query"}, {"prompt": "fox "}, {"prompt": ""}):
        teacher = compare(folder, **how)
    assert teacher.dim == 24
    with pytest.raises(InvalidArgument, match="other, query") as caught:
        teacher.encode(TEXTS, prompt_name="passage")
    assert caught.value.field == "prompt_name"


def test_long_texts_are_cut_where_sentence_transformers_cuts(
    teacher_of: Maker, tmp_path: Path
) -> None:
    folder = with_modules(teacher_of("bert"), tmp_path / "st", lambda: Pooling(32))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 9}')
    assert compare(folder).tokenizer.max_tokens == 9


def test_settings_under_an_older_name(teacher_of: Maker, tmp_path: Path) -> None:
    folder = with_modules(teacher_of("roberta"), tmp_path / "st", lambda: Pooling(32))
    (folder / "sentence_bert_config.json").unlink()
    settings = '{"max_seq_length": 9, "do_lower_case": true}'
    (folder / "sentence_roberta_config.json").write_text(settings)
    assert compare(folder).tokenizer.max_tokens == 9


def test_batches_do_not_change_vectors(teacher_of: Maker) -> None:
    teacher = Teacher.load(teacher_of("bert"), "cpu", "float32")
    texts = [f"{'word ' * (i % 7)} {i}" for i in range(40)]
    np.testing.assert_allclose(
        teacher.encode(texts, batch_tokens=1), teacher.encode(texts, batch_tokens=500), atol=2e-5
    )


def test_progress_and_no_texts(teacher_of: Maker) -> None:
    teacher = Teacher.load(teacher_of("bert"), "cpu", "float32")
    done: list[int] = []
    teacher.encode(["a", "b", "c"], batch_tokens=3, on_done=done.append)
    assert done == [1, 2, 3]
    assert teacher.encode([]).shape == (0, 32)


def test_bfloat16_is_close(teacher_of: Maker) -> None:
    exact = Teacher.load(teacher_of("bert"), "cpu", "float32").encode(TEXTS)
    rough = Teacher.load(teacher_of("bert"), "cpu", "bfloat16").encode(TEXTS)
    assert 0.99 < least_cosine(exact, rough) < 0.9999999


@pytest.mark.teacher
def test_minilm_encodes_as_sentence_transformers_does(minilm: Path) -> None:
    teacher = compare(minilm)
    assert (teacher.dim, teacher.tokenizer.max_tokens) == (384, 256)
