"""Students that other libraries made: whatever they saved, the vectors stay theirs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distillation.export.test_interop import model2vec_vectors, sentence_transformers_vectors
from distillation.export.tiny import (
    LONG_TEXT,
    TEXTS,
    TOKENIZERS,
    UNKNOWN_ONLY,
    table_for,
    wordpiece,
)
from imports.importing import Context, run

from stillroom_registry.errors import FailedPrecondition
from stillroom_registry.registry import Registry
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.options import EmbedOptions
from stillroom_server.inference.student_files import StudentFiles

NASTY = [
    *TEXTS,
    UNKNOWN_ONLY,
    "",
    "   ",
    "😀🎉👩‍👩‍👧‍👦",
    "zebra the 日本 river qqqq",
    "[UNK] the <unk>",
    "the [PAD] <pad> [CLS] river",
    LONG_TEXT * 3,
    "Ünïcödé naïve café",
]


def serve(registry: Registry, context: Context, folder: Path) -> np.ndarray:
    """The vectors of ``NASTY`` by ``folder``, imported and served."""
    version, _ = run(registry, context, {"path": str(folder)})
    assert version.metadata["parity"]["min_cosine"] > 0.999999
    made = registry.folder(version)
    assert (made / "onnx/model.onnx").is_file()
    options = EmbedOptions(normalize=StudentFiles.load(made).normalize)
    return StudentEmbedder.load(made).embed(NASTY, options).vectors.astype(np.float64)


def hold(found: np.ndarray, theirs: np.ndarray) -> None:
    """Cosine and length, text by text. A half-precision library has no vector of an empty text."""
    expected = np.nan_to_num(theirs.astype(np.float64))
    lengths = np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), lengths, rtol=2e-3)
    some = lengths > 0
    products = (found * expected).sum(axis=1)[some] / lengths[some]
    assert (products / np.linalg.norm(found, axis=1)[some]).min() >= 0.99999


def place(context: Context, name: str = "m") -> Path:
    return context.workspace.parent / "models" / name


def drawn(element_type: str, rows: int | None = None) -> np.ndarray:
    table = table_for(wordpiece())[:rows]
    return (np.clip(table * 9, -127, 127) if element_type == "int8" else table).astype(element_type)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("family", TOKENIZERS)
def test_model2vec_by_family(
    registry: Registry,
    context: Context,
    family: str,
    normalize: bool,
) -> None:
    from model2vec import StaticModel

    tokenizer = TOKENIZERS[family]()
    model = StaticModel(table_for(tokenizer), tokenizer, normalize=normalize, max_length=None)
    model.save_pretrained(place(context))
    hold(serve(registry, context, place(context)), model2vec_vectors(place(context), NASTY))


@pytest.mark.parametrize("weights", [None, "float32", "float16"])
@pytest.mark.parametrize("mapping", [None, "int64", "int32"])
@pytest.mark.parametrize("element_type", ["float32", "float16", "int8"])
def test_model2vec_with_weights_and_mapping(
    registry: Registry,
    context: Context,
    element_type: str,
    mapping: Any,
    weights: Any,
) -> None:
    from model2vec import StaticModel

    tokenizer, rng = wordpiece(), np.random.default_rng(1)
    size = tokenizer.get_vocab_size()
    StaticModel(
        drawn(element_type, 30 if mapping else None),
        tokenizer,
        normalize=True,
        max_length=None,
        weights=rng.random(size).astype(weights) if weights else None,
        token_mapping=rng.integers(0, 30, size).astype(mapping) if mapping else None,
    ).save_pretrained(place(context))
    hold(serve(registry, context, place(context)), model2vec_vectors(place(context), NASTY))


@pytest.mark.parametrize("bare", ["config", "modules.json", "post-processor"])
def test_model2vecs_older_and_barer_folders(
    registry: Registry,
    context: Context,
    bare: str,
) -> None:
    from model2vec import StaticModel

    folder = place(context)
    StaticModel(drawn("float32"), wordpiece(), normalize=True).save_pretrained(folder)
    config = {"normalize": True, "max_length": None, "apply_zipf": True, "hidden_dim": 24}
    (folder / "config.json").write_text(json.dumps(config))
    if bare == "modules.json":
        (folder / "modules.json").unlink()
    if bare == "post-processor":
        (folder / "tokenizer.json").write_text(wordpiece().to_str())
    hold(serve(registry, context, folder), model2vec_vectors(folder, NASTY))


def static(folder: Path, family: str, element_type: str, *modules: Any, **settings: Any) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = TOKENIZERS[family]()
    tokenizer.no_truncation()
    embedding = StaticEmbedding(tokenizer, table_for(tokenizer).astype(element_type))
    SentenceTransformer(modules=[embedding, *modules], device="cpu", **settings).save(str(folder))


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("element_type", ["float32", "float16"])
@pytest.mark.parametrize("family", TOKENIZERS)
def test_static_embeddings(
    registry: Registry,
    context: Context,
    family: str,
    element_type: str,
    normalize: bool,
) -> None:
    """Unknown words count there, and so they do here."""
    from sentence_transformers.base.modules import Normalize

    folder = place(context)
    static(folder, family, element_type, *([Normalize()] if normalize else []))
    hold(serve(registry, context, folder), sentence_transformers_vectors(folder, NASTY))


@pytest.mark.parametrize("tensors", ["theirs", "model2vec's"])
def test_a_static_embedding_in_a_folder_of_its_own(
    registry: Registry,
    context: Context,
    tensors: str,
) -> None:
    from model2vec import StaticModel
    from sentence_transformers.base.modules import Normalize

    folder, inner = place(context), place(context) / "0_StaticEmbedding"
    static(folder, "wordpiece", "float32", Normalize(), prompts={"query": "the ", "document": ""})
    inner.mkdir(exist_ok=True)
    for name in ("model.safetensors", "tokenizer.json"):
        if (folder / name).exists():
            (folder / name).rename(inner / name)
    listed = json.loads((folder / "modules.json").read_text())
    listed[0]["path"] = inner.name
    (folder / "modules.json").write_text(json.dumps(listed))
    if tensors != "theirs":
        rng = np.random.default_rng(2)
        size = wordpiece().get_vocab_size()
        StaticModel(
            drawn("float32", 30), wordpiece(), weights=rng.random(size).astype(np.float32),
            token_mapping=rng.integers(0, 30, size),
        ).save_pretrained(place(context, "other"))  # fmt: skip
        shutil.copy(place(context, "other") / "model.safetensors", inner / "model.safetensors")
    hold(serve(registry, context, folder), sentence_transformers_vectors(folder, NASTY))
    made = registry.folder(registry.resolve("m"))
    assert StudentEmbedder.load(made).prompts == {"query": "the "}


def test_a_dense_behind_a_static_embedding_is_refused(
    registry: Registry,
    context: Context,
) -> None:
    from sentence_transformers.base.modules import Dense

    static(place(context), "wordpiece", "float32", Dense(24, 8))
    with pytest.raises(FailedPrecondition, match="Dense") as caught:
        run(registry, context, {"path": str(place(context))})
    assert caught.value.reason == "UNSUPPORTED_MODULE"
