"""Classifiers of model2vec and of this server's making, from folder to served version."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distillation.export.tiny import TEXTS, UNKNOWN_ONLY, edit_json, write_tiny
from imports.importing import Context, at, run
from inference.classifier.folders import TEXTS as OTHER_TEXTS
from inference.classifier.folders import describe, layers
from inference.classifier.folders import write_tiny as write_own
from safetensors.numpy import load_file, save_file

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_registry.registry import ModelKind, Registry
from stillroom_server.classification.export.folder import finish, write_classifier
from stillroom_server.imports.recognize import HEAD_FILE, recognize
from stillroom_server.imports.selection import SkippedFile
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.classifier.head import HeadArrays
from stillroom_server.inference.classifier.plans import ClassifyOptions

CLASSES = ["arrival", "card", "pin"]


def pipeline(
    folder: Path,
    *,
    activation: str = "softmax",
    hidden: tuple[int, ...] = (7,),
    classes: Any = CLASSES,
    **student: Any,
) -> Path:
    """What model2vec 0.10 saves, by model2vec itself."""
    from model2vec import StaticModel
    from model2vec.inference import StaticModelPipeline
    from model2vec.inference.mlp import Activation, Layer, MLPHead

    source = folder.with_name("student-of-" + folder.name)
    write_tiny(source, **student)
    model = StaticModel.from_pretrained(source)
    rng = np.random.default_rng(0)
    widths = [model.dim, *hidden, len(classes)]
    made = [
        Layer(
            rng.standard_normal((out, into)).astype(np.float32),
            rng.standard_normal(out).astype(np.float32),
        )
        for into, out in itertools.pairwise(widths)
    ]
    head = MLPHead(made, Activation(activation), np.asarray(classes))
    StaticModelPipeline(model, head).save_pretrained(str(folder))
    return folder


def probabilities(classifier: Classifier, texts: list[str]) -> np.ndarray:
    found = classifier.classify(texts, classifier.plan(ClassifyOptions(top_k=99)))
    rows = np.zeros((len(texts), len(classifier.labels)), np.float32)
    indices = found.label_indices.reshape(rows.shape)
    np.put_along_axis(rows, indices, found.probabilities.reshape(rows.shape), axis=1)
    return rows


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize(
    "student",
    [
        {},
        {"normalize": False},
        {"family": "bpe"},
        {"element_type": "int8"},
        {"max_tokens": None},
    ],
    ids=str,
)
def test_a_pipeline_of_model2vec_answers_as_it_did(
    registry: Registry, context: Context, activation: str, student: dict[str, Any]
) -> None:
    from model2vec.inference import StaticModelPipeline

    source = at(context, lambda folder: pipeline(folder, activation=activation, **student))
    theirs = StaticModelPipeline.from_pretrained(source["path"])
    version, _ = run(registry, context, source)
    assert version.kind is ModelKind.CLASSIFIER
    served = Classifier.load(registry.folder(version))
    assert served.labels == tuple(CLASSES)
    texts = [*TEXTS, UNKNOWN_ONLY, ""]
    np.testing.assert_allclose(probabilities(served, texts), theirs.predict_proba(texts), atol=1e-5)
    given = served.classify(texts)
    predicted = theirs.predict(texts)
    if activation == "softmax":
        assert [CLASSES[i] for i in given.label_indices] == predicted.tolist()
    else:
        assert given.label_counts.tolist() == [len(labels) for labels in predicted]


def test_what_is_registered_of_it(registry: Registry, context: Context) -> None:
    source = at(context, pipeline)
    (Path(source["path"]) / "onnx").mkdir()
    (Path(source["path"]) / "onnx" / "model.onnx").write_bytes(b"of the student alone")
    version, result = run(registry, context, source, kind="classifier")
    names = {file.path for file in version.files}
    assert names >= {
        *("classifier.json", "classifier.safetensors", "onnx/classifier.onnx", "stillroom.json"),
        *("head.safetensors", "model.safetensors", "config.json", "tokenizer.json", "README.md"),
    }
    assert "onnx/model.onnx" not in names
    assert [file["path"] for file in result["skipped_files"]] == ["onnx/model.onnx"]
    assert version.metadata["layout"] == "model2vec-classifier"
    assert version.metadata["classifier"]["labels"] == CLASSES
    assert version.metadata["classifier"]["options"]["mlp"] == {"hidden_sizes": [7]}
    assert version.metadata["label_count"] == 3
    assert version.metadata["parity"]["label_disagreements"] == 0
    assert "calibrated" in result["notes"][0]
    from model2vec.inference import StaticModelPipeline

    again = StaticModelPipeline.from_pretrained(registry.folder(version))  # still one of theirs
    assert again.predict(["the river"]).shape == (1,)


def test_numbers_become_names(registry: Registry, context: Context) -> None:
    source = at(context, lambda folder: pipeline(folder, classes=[3, 1, 2], hidden=()))
    version, _ = run(registry, context, source)
    served = Classifier.load(registry.folder(version))
    assert served.labels == ("3", "1", "2")
    assert version.metadata["classifier"]["options"]["linear"] == {}


@pytest.mark.parametrize(
    "change",
    [
        {"classes": None},
        {"classes": "abc"},
        {"classes": ["a", "b"]},
        {"classes": ["a", "b", "a"]},
        {"classes": ["a", "b", ""]},
        {"classes": ["a", "b", {"c": 1}]},
        {"n_layers": 0},
        {"n_layers": 1},
        {"n_layers": 3},
        {"n_layers": "2"},
        {"n_layers": True},
    ],
    ids=str,
)
def test_a_head_that_is_none_is_refused(
    registry: Registry, context: Context, change: dict[str, Any]
) -> None:
    source = at(context, pipeline)
    path = Path(source["path"]) / "config.json"
    head = json.loads(path.read_text())["head_config"]
    edit_json(path, head_config={**head, **change})
    with pytest.raises(InvalidArgument) as caught:
        run(registry, context, source)
    assert caught.value.reason == "CLASSIFIER_INVALID"
    assert caught.value.field == "source"


@pytest.mark.parametrize("shape", [(7, 23), (8, 24), (7,), (0, 24)])
def test_layers_that_do_not_fit_are_refused(
    registry: Registry, context: Context, shape: tuple[int, ...]
) -> None:
    source = at(context, pipeline)
    path = Path(source["path"]) / HEAD_FILE
    save_file({**load_file(path), "head.0.weight": np.zeros(shape, np.float32)}, path)
    with pytest.raises(InvalidArgument, match=r"head\.safetensors"):
        run(registry, context, source)


def test_a_head_that_is_not_finite_is_refused(registry: Registry, context: Context) -> None:
    source = at(context, pipeline)
    path = Path(source["path"]) / HEAD_FILE
    save_file({**load_file(path), "head.1.bias": np.full(3, np.nan, np.float32)}, path)
    with pytest.raises(InvalidArgument, match="NaN"):
        run(registry, context, source)


def test_a_head_that_classifies_nothing_leaves_a_student(
    registry: Registry, context: Context
) -> None:
    source = at(context, lambda folder: pipeline(folder, activation="identity"))
    version, result = run(registry, context, source)
    assert version.kind is ModelKind.STUDENT
    assert HEAD_FILE in result["notes"][0]
    assert HEAD_FILE not in {file.path for file in version.files}


def test_an_older_pipeline_is_not_read(tmp_path: Path) -> None:
    write_tiny(tmp_path / "m")
    (tmp_path / "m" / "stillroom.json").unlink()
    found = recognize(tmp_path / "m", [SkippedFile("pipeline.skops", "not part of a model")])
    assert found.kind == "student"
    assert "0.10" in found.notes[0]


def test_the_wrong_kind_is_refused(registry: Registry, context: Context) -> None:
    with pytest.raises(InvalidArgument, match="is a classifier"):
        run(registry, context, at(context, pipeline), kind="student")


def test_one_of_our_own_comes_back_as_it_was(registry: Registry, context: Context) -> None:
    def own(folder: Path) -> None:
        write_own(folder)
        finish(folder, report_markdown="## Report", report_html="<p>")

    source = at(context, own)
    version, result = run(registry, context, source)
    assert version.kind is ModelKind.CLASSIFIER
    assert version.metadata["layout"] == "stillroom-classifier"
    assert {file["path"] for file in result["skipped_files"]} == {
        "onnx/classifier.onnx",  # made anew
        "report.html",
    }
    folder, before = registry.folder(version), Path(source["path"])
    assert (folder / "onnx/classifier.onnx").read_bytes() == (
        before / "onnx/classifier.onnx"
    ).read_bytes()
    texts = OTHER_TEXTS[:6]
    wanted = probabilities(Classifier.load(before), texts)
    assert np.array_equal(probabilities(Classifier.load(folder), texts), wanted)


def test_one_of_our_own_must_be_what_its_manifest_says(
    registry: Registry, context: Context
) -> None:
    source = at(context, write_own)
    edit_json(Path(source["path"]) / "classifier.json", temperature=3.0)
    with pytest.raises(InvalidArgument) as caught:
        run(registry, context, source)
    assert caught.value.reason == "MANIFEST_MISMATCH"


def test_the_head_of_a_teacher_needs_no_tokenizer(registry: Registry, context: Context) -> None:
    def own(folder: Path) -> None:
        write_classifier(
            folder,
            encoder_folder=folder,
            encoder_kind="teacher",
            head=HeadArrays(layers(6)),
            description=describe(dimensions=6),
        )

    version, result = run(registry, context, at(context, own))
    assert Classifier.load(registry.folder(version)).needs_teacher
    assert "models/mini/versions/1" in result["notes"][0]


def test_other_kinds_are_still_refused(registry: Registry, context: Context) -> None:
    source = at(context, write_own)
    edit_json(Path(source["path"]) / "stillroom.json", kind="oracle")
    with pytest.raises(FailedPrecondition) as caught:
        run(registry, context, source)
    assert caught.value.reason == "UNSUPPORTED_KIND"
