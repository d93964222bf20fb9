from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.classifier.folders import (
    LABELS,
    MULTI,
    SINGLE,
    TEXTS,
    describe,
    layers,
    naive_scores,
    sigmoid,
    softmax,
    write_tiny,
)
from inference.students import byte_bpe, naive_vector, unigram
from inference.transformers import write_transformer
from stillroom_registry.errors import DataLoss, FailedPrecondition, InvalidArgument
from stillroom_server.classification.export.folder import write_classifier
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.classifier.files import ClassifierFiles
from stillroom_server.inference.classifier.head import HeadArrays
from stillroom_server.inference.classifier.plans import ClassifyOptions
from stillroom_server.inference.results import EmbedResult, TextWarning, Timings

STUDENTS: dict[str, dict[str, Any]] = {
    "wordpiece": {},
    "bpe": {"tokenizer_json": byte_bpe()},
    "unigram": {"tokenizer_json": unigram()},
    "int8": {"dtype": "int8", "mapping": True},
}


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("task", [SINGLE, MULTI])
def test_probabilities_are_those_of_the_definition(tmp_path: Path, student: str, task: str) -> None:
    folder = write_tiny(tmp_path / "c", task=task, student=STUDENTS[student], hidden=(7,))
    head = ClassifierFiles.load(folder).head
    classifier = Classifier.load(folder)
    found = classifier.classify(TEXTS, classifier.plan(ClassifyOptions(top_k=5)))
    rows = np.zeros((len(TEXTS), 5))
    np.put_along_axis(
        rows, found.label_indices.reshape(-1, 5), found.probabilities.reshape(-1, 5), axis=1
    )
    probability = sigmoid if task == MULTI else softmax
    for text, row in zip(TEXTS, rows, strict=True):
        wanted = probability(naive_scores(folder, head, text), 1.5)
        # The last text is one word 700 times: float32 sums of it are off by so much.
        np.testing.assert_allclose(row, wanted, atol=1e-4 if len(text) > 1000 else 1e-6)
    assert found.applies is not None if task == MULTI else found.applies is None
    np.testing.assert_allclose(
        classifier.scores(TEXTS)[0] * 1.5,
        [naive_scores(folder, head, text) for text in TEXTS],
        atol=1e-3,
    )


def test_texts_that_say_nothing_are_warned_of_and_abstained_from(tmp_path: Path) -> None:
    classifier = Classifier.load(write_tiny(tmp_path / "c"))
    how = classifier.plan(ClassifyOptions(abstention_threshold=0.0))
    found = classifier.classify(["my card", "", "漢字字字", "日本"], how)
    assert found.warnings.tolist() == [0, TextWarning.EMPTY, 0, TextWarning.ALL_UNKNOWN]
    assert found.abstained is not None
    assert found.abstained.tolist() == [False, True, False, True]
    assert found.label_counts.tolist() == [1] * 4


def test_one_text_is_answered_as_in_a_list(tmp_path: Path) -> None:
    for name, ngrams in (("with", True), ("without", False)):
        classifier = Classifier.load(write_tiny(tmp_path / name, ngrams=ngrams))
        assert classifier.classify_one is not None
        whole = classifier.classify(TEXTS)
        for i, text in enumerate(TEXTS):
            one = classifier.classify_one(text)
            alone = classifier.classify([text])
            if whole.warnings[i] or whole.truncated[i]:
                assert one is None
                continue
            assert one is not None
            assert one.label_index == whole.label_indices[i] == alone.label_indices[0]
            assert one.probability == pytest.approx(float(whole.confidences[i]), abs=1e-6)
            assert one.probability == pytest.approx(float(alone.confidences[0]), abs=1e-7)
            assert one.tokens == whole.tokens[i]
            assert whole.abstained is not None
            assert one.abstained == whole.abstained[i]


def test_what_is_no_plain_text_is_left_to_the_general_way(tmp_path: Path) -> None:
    assert Classifier.load(write_tiny(tmp_path / "multi", task=MULTI)).classify_one is None
    prompted = describe()
    prompted["options"]["encoding"]["prompt"] = "my card: "
    folder = write_tiny(tmp_path / "prompt", options=prompted["options"])
    assert Classifier.load(folder).classify_one is None
    plain = Classifier.load(write_tiny(tmp_path / "plain")).classify_one
    assert plain is not None
    assert plain("\ud800") is None


def test_texts_are_embedded_as_in_training(tmp_path: Path) -> None:
    encoding = {
        "truncation_direction": "TRUNCATION_DIRECTION_LEFT",
        "max_tokens": 5,
        "dimensions": 9,
        "normalize": False,
        "prompt": "my new ",
    }
    folder = write_tiny(tmp_path / "c", dimensions=9, max_tokens=5, options={"encoding": encoding})
    head = ClassifierFiles.load(folder).head
    classifier = Classifier.load(folder)
    assert classifier.max_tokens == 5
    text = "card has not arrived yet and i am still waiting"
    found = classifier.classify(
        [text, ""], classifier.plan(ClassifyOptions(top_k=5, include_embeddings=True))
    )
    how = {"max_tokens": 5, "left": True, "normalize": False, "dimensions": 9}
    wanted = softmax(naive_scores(folder, head, "my new " + text, **how), 1.5)
    np.testing.assert_allclose(np.sort(found.probabilities[:5]), np.sort(wanted), atol=2e-5)
    assert found.vectors is not None
    np.testing.assert_allclose(
        found.vectors[0], naive_vector(folder, "my new " + text, **how), atol=1e-5
    )
    assert found.truncated.tolist() == [True, False]
    assert found.warnings.tolist() == [0, TextWarning.EMPTY]
    with pytest.raises(InvalidArgument, match=r"texts\[0\]") as caught:
        classifier.classify([text], classifier.plan(ClassifyOptions(truncate=False)))
    assert caught.value.reason == "TEXT_TOO_LONG"


def test_no_texts_and_bad_texts(tmp_path: Path) -> None:
    classifier = Classifier.load(write_tiny(tmp_path / "c"))
    assert not classifier.classify([]).label_counts.size
    with pytest.raises(InvalidArgument) as caught:
        classifier.classify(["fine", "\ud800"])
    assert caught.value.field == "texts[1]"


def test_requests_at_once_do_not_influence_each_other(tmp_path: Path) -> None:
    classifier = Classifier.load(write_tiny(tmp_path / "c", task=MULTI))
    plans = [
        classifier.plan(ClassifyOptions(top_k=k, threshold=t))
        for k in range(6)
        for t in (None, 0.1, 0.9)
    ]
    wanted = [classifier.classify(TEXTS, how) for how in plans]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda how: classifier.classify(TEXTS, how), plans * 4))
    for i, one in enumerate(found):
        other = wanted[i % len(plans)]
        assert one.label_counts.tolist() == other.label_counts.tolist()
        assert one.probabilities.tolist() == other.probabilities.tolist()


@pytest.mark.parametrize("hidden", [(), (7,)])
@pytest.mark.parametrize("task", [SINGLE, MULTI])
@pytest.mark.parametrize(
    "options",
    [{}, {"top_k": 3}, {"include_embeddings": True}, {"abstention_threshold": 0.4}],
)
def test_lists_together_are_classified_as_alone_to_the_bit(
    tmp_path: Path, task: str, hidden: tuple[int, ...], options: dict[str, Any]
) -> None:
    classifier = Classifier.load(write_tiny(tmp_path / "c", task=task, hidden=hidden))
    how = classifier.plan(ClassifyOptions(**options))
    lists = [TEXTS[:2], TEXTS * 9, ["", "card"], TEXTS[::-1] * 30]
    together = classifier.classify_together(lists, how)
    for texts, found in zip(lists, together, strict=True):
        alone = classifier.classify(texts, how)
        for column in found._fields[:-1]:
            one, other = getattr(found, column), getattr(alone, column)
            assert (one is None) == (other is None), column
            if one is not None:
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other, err_msg=column)
        assert all(seconds >= 0 for seconds in found.timings)
    total = sum(found.timings.infer for found in together)
    shares = [found.timings.infer / total for found in together]
    texts = sum(map(len, lists))
    assert shares == pytest.approx([len(each) / texts for each in lists])
    with pytest.raises(InvalidArgument):
        classifier.classify_together([["a", "b"], ["fine", "\ud800"]], how)


def test_a_head_on_a_teacher_takes_its_vectors(tmp_path: Path) -> None:
    arrays = HeadArrays(layers(6))
    write_classifier(
        tmp_path / "c",
        encoder_folder=tmp_path / "none",
        encoder_kind="teacher",
        head=arrays,
        description=describe(dimensions=6),
    )
    classifier = Classifier.load(tmp_path / "c")
    assert classifier.needs_teacher
    assert classifier.encoder_version == "models/mini/versions/1"
    assert classifier.info.engine == "teacher"
    vectors = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    embedded = EmbedResult(
        vectors,
        np.ones(3, np.int32),
        np.zeros(3, np.bool_),
        np.array([0, 0, 1], np.uint8),
        Timings(1.0, 2.0, 0.5),
    )
    how = classifier.plan(ClassifyOptions(top_k=5, include_embeddings=True))
    found = classifier.classify_vectors(embedded, how)
    weights, bias = arrays.layers[0]
    wanted = np.stack([softmax(row, 1.5) for row in vectors @ weights + bias])
    np.testing.assert_allclose(
        found.probabilities.reshape(3, 5).max(axis=1), wanted.max(axis=1), rtol=1e-5
    )
    assert found.vectors is vectors
    assert found.timings[:2] == (1.0, 2.0)
    assert found.timings.queue == 0.5
    assert found.abstained is not None
    assert found.abstained[2]
    with pytest.raises(FailedPrecondition, match="dimensions"):
        classifier.classify_vectors(embedded._replace(vectors=vectors[:, :4]))
    with pytest.raises(FailedPrecondition, match="models/mini/versions/1"):
        classifier.classify(["a text"])


def test_a_classifier_on_a_transformer_is_run_by_its_lanes(tmp_path: Path) -> None:
    student = write_transformer(tmp_path / "student")
    from stillroom_server.inference.transformer.embedder import TransformerEmbedder

    embedder = TransformerEmbedder.load(student)
    arrays = HeadArrays(layers(embedder.dimensions))
    write_classifier(
        tmp_path / "c",
        encoder_folder=student,
        encoder_kind="transformer",
        head=arrays,
        description=describe(
            dimensions=embedder.dimensions, max_tokens=embedder.max_tokens, options={}
        ),
    )
    classifier = Classifier.load(tmp_path / "c")
    assert classifier.needs_lanes
    assert classifier.classify_one is None
    texts = TEXTS[:5]
    how = classifier.plan(ClassifyOptions(top_k=5))
    found = classifier.submit(texts, how, wait=True).result(60)
    weights, bias = arrays.layers[0]
    scores = embedder.embed(texts).vectors @ weights + bias
    wanted = np.stack([np.sort(softmax(row, 1.5))[::-1] for row in scores])
    np.testing.assert_allclose(found.probabilities.reshape(5, 5), wanted, atol=1e-5)
    assert classifier.classify(texts, how).label_indices.tolist() == found.label_indices.tolist()
    waiting = classifier.submit(texts, how, wait=True)
    waiting.cancel()
    assert waiting.cancelled() or waiting.done()


def test_an_encoder_that_does_not_fit_is_named(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "c", options={"encoding": {"dimensions": 12}})
    with pytest.raises(DataLoss, match=r"classifier\.json") as caught:
        Classifier.load(folder)
    assert caught.value.metadata["file"] == "classifier.json"
    folder = write_tiny(tmp_path / "d", options={"encoding": {"max_tokens": 9999}})
    with pytest.raises(DataLoss, match="encoding"):
        Classifier.load(folder)
    assert Classifier.load(write_tiny(tmp_path / "e")).labels == LABELS
