from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from inference.classifier.folders import (
    MULTI,
    SINGLE,
    TEXTS,
    describe,
    flat,
    layers,
    naive_scores,
    sigmoid,
    softmax,
    write_tiny,
)
from inference.students import byte_bpe, unigram, write_student
from inference.transformers import write_transformer
from onnx import numpy_helper
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from stillroom_registry.errors import Internal
from stillroom_server.classification.export import parity
from stillroom_server.classification.export.folder import write_classifier
from stillroom_server.classification.export.onnx_graph import (
    CLASSIFIER_FILE,
    HEAD_FILE,
    export_onnx,
)
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.classifier.files import TENSORS_FILE, ClassifierFiles
from stillroom_server.inference.classifier.head import HeadArrays, choose_runs, count_runs
from stillroom_server.inference.transformer.embedder import TransformerEmbedder

VARIANTS: dict[str, dict[str, Any]] = {
    "single": {},
    "multi": {"task": MULTI, "hidden": (7, 6)},
    "no n-grams": {"ngrams": False},
    "bytes": {"student": {"tokenizer_json": byte_bpe()}},
    "unigram": {"student": {"tokenizer_json": unigram()}},
    "int8": {"student": {"dtype": "int8", "mapping": True}},
    "cut": {"dimensions": 9, "options": {"encoding": {"dimensions": 9, "normalize": False}}},
    "cold": {"temperature": 0.05},
}


def feeds(folder: Path, texts: list[str], side: str = "right") -> dict[str, np.ndarray]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    rows = [tokenizer.encode(text, add_special_tokens=False).ids[:512] for text in texts]
    width = max(map(len, rows))
    ids = np.full((len(rows), width), 3, np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[i, place], mask[i, place] = row, 1
    return {"input_ids": ids, "attention_mask": mask}


def run(file: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["probabilities"], inputs)[0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_file_goes_from_ids_to_probabilities(tmp_path: Path, variant: str) -> None:
    folder = write_tiny(tmp_path / "c", **VARIANTS[variant])
    files = ClassifierFiles.load(folder)
    about = files.description
    for side in ("right", "left"):
        found = run(folder / CLASSIFIER_FILE, feeds(folder, TEXTS, side))
        probability = softmax if about.task == SINGLE else sigmoid
        for text, row in zip(TEXTS, found, strict=True):
            scores = naive_scores(
                folder,
                files.head,
                text,
                normalize=about.encoding.normalize is not False,
                dimensions=about.dimensions,
            )
            np.testing.assert_allclose(row, probability(scores, about.temperature), atol=5e-5)
    alone = run(folder / CLASSIFIER_FILE, feeds(folder, ["card"]))  # shorter than any long run
    np.testing.assert_allclose(alone.sum() if about.task == SINGLE else 1, 1, atol=1e-5)


def test_the_operators_are_standard_ones(tmp_path: Path) -> None:
    model = onnx.load(str(write_tiny(tmp_path / "c") / CLASSIFIER_FILE))
    assert {node.domain for node in model.graph.node} == {""}
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert [i.name for i in model.graph.input] == ["input_ids", "attention_mask"]
    assert [o.name for o in model.graph.output] == ["probabilities"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_right_passes(tmp_path: Path, variant: str) -> None:
    folder = write_tiny(tmp_path / "c", **VARIANTS[variant])
    seen: list[int] = []
    found = parity.check(folder, TEXTS, runs=24, on_run=seen.append)
    assert found["label_disagreements"] == 0
    assert 0 < found["max_abs_error"] < 1e-4
    assert found["texts"] > len(TEXTS)
    assert found["runs"] == 24
    assert seen == list(range(1, 25))


@pytest.mark.parametrize("wrong", ["layers.0.bias", "ngrams.rows", "ngrams.slots"])
def test_weights_that_differ_from_the_graph_are_found(tmp_path: Path, wrong: str) -> None:
    folder = write_tiny(tmp_path / "c")
    arrays = load_file(folder / TENSORS_FILE)
    if wrong == "ngrams.slots":
        arrays[wrong] = np.where(arrays[wrong] == 3, 4, arrays[wrong])
    else:  # of one label alone: softmax forgets what is added to all of them
        arrays[wrong][1:, ...].T[0] += 0.5
    save_file(arrays, folder / TENSORS_FILE)
    with pytest.raises(Internal) as caught:
        parity.check(folder, TEXTS)
    assert caught.value.reason == "PARITY_FAILED"
    assert float(caught.value.metadata["max_abs_error"]) > 1e-4


def test_a_graph_that_does_not_run_is_found(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "c")
    (folder / CLASSIFIER_FILE).write_bytes(b"no graph")
    with pytest.raises(Internal, match="does not run"):
        parity.check(folder)


def test_weights_beyond_the_limit_lie_beside_the_graph(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "c", student={"dimensions": 4000}, dimensions=4000)
    whole = run(folder / CLASSIFIER_FILE, feeds(folder, TEXTS))
    export_onnx(folder, inline_limit=1 << 20)
    assert (folder / (CLASSIFIER_FILE + "_data")).stat().st_size > 1 << 20
    np.testing.assert_array_equal(run(folder / CLASSIFIER_FILE, feeds(folder, TEXTS)), whole)
    export_onnx(folder)
    assert not (folder / (CLASSIFIER_FILE + "_data")).exists()


def test_on_a_teacher_the_head_alone_is_exported(tmp_path: Path) -> None:
    arrays = HeadArrays(layers(6, hidden=(4,)))
    write_classifier(
        tmp_path / "c",
        encoder_folder=tmp_path / "none",
        encoder_kind="teacher",
        head=arrays,
        description=describe(dimensions=6),
    )
    assert not (tmp_path / "c" / CLASSIFIER_FILE).exists()
    vectors = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    found = run(tmp_path / "c" / HEAD_FILE, {"sentence_embedding": vectors})
    (w0, b0), (w1, b1) = arrays.layers
    scores = np.maximum(vectors @ w0 + b0, 0) @ w1 + b1
    np.testing.assert_allclose(found, [softmax(row, 1.5) for row in scores], atol=1e-5)
    assert parity.check(tmp_path / "c")["label_disagreements"] == 0


def test_on_a_transformer_its_graph_goes_on(tmp_path: Path) -> None:
    student = write_transformer(tmp_path / "student")
    embedder = TransformerEmbedder.load(student)
    arrays = HeadArrays(layers(embedder.dimensions))
    about = describe(dimensions=embedder.dimensions, max_tokens=embedder.max_tokens, options={})
    folder = tmp_path / "c"
    write_classifier(
        folder,
        encoder_folder=student,
        encoder_kind="transformer",
        head=arrays,
        description=about,
    )
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    text = "my card has not arrived"
    ids = np.array([tokenizer.encode(text).ids], np.int64)
    found = run(folder / CLASSIFIER_FILE, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
    weights, bias = arrays.layers[0]
    scores = embedder.embed([text]).vectors @ weights + bias
    np.testing.assert_allclose(found[0], softmax(scores[0], 1.5), atol=1e-4)
    assert parity.check(folder, TEXTS[:5])["label_disagreements"] == 0


def test_slots_are_stored_as_narrow_as_they_are(tmp_path: Path) -> None:
    model = onnx.load(str(write_tiny(tmp_path / "c") / CLASSIFIER_FILE))
    sizes = [numpy_helper.to_array(i) for i in model.graph.initializer]
    assert sum(a.dtype == np.int32 and a.size == 1024 for a in sizes) == 2


def test_no_run_at_all_may_be_a_feature(tmp_path: Path) -> None:
    """As where every training text is of one token."""
    student = write_student(tmp_path / "student")
    chosen = choose_runs(count_runs(*flat([[1], [2]]), 2, 2), max_features=9)
    ngrams = replace(chosen, rows=np.zeros((1, 5), np.float32))
    write_classifier(
        tmp_path / "c",
        encoder_folder=student,
        encoder_kind="static",
        head=HeadArrays(layers(), ngrams),
        description=describe(),
    )
    assert parity.check(tmp_path / "c", TEXTS)["label_disagreements"] == 0
    classifier = Classifier.load(tmp_path / "c")
    assert classifier.classify_one is not None
    one = classifier.classify_one(TEXTS[0])
    assert one is not None
    assert one.label_index == classifier.classify(TEXTS).label_indices[0]
