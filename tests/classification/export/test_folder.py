from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from inference.classifier.folders import MULTI, TEXTS, describe, layers, write_tiny
from inference.students import write_student
from safetensors.numpy import load_file

from stillroom_registry.errors import Internal
from stillroom_server.classification.export.folder import finish, write_classifier
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.classifier.head import HeadArrays
from stillroom_server.inference.classifier.plans import ClassifyOptions
from stillroom_server.inference.student_files import StudentFiles


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write(folder: Path, student: Path, **tuned: object) -> Path:
    write_classifier(
        folder,
        encoder_folder=student,
        encoder_kind="static",
        head=HeadArrays(layers()),
        description=describe(),
        **tuned,  # type: ignore[arg-type]
    )
    return folder


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        finish(write_tiny(tmp_path / name), report_markdown="## Report", report_html="<p>")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert set(digests(tmp_path / "a")) >= {
        *("classifier.json", "classifier.safetensors", "onnx/classifier.onnx", "stillroom.json"),
        *("README.md", "report.html", "config.json", "tokenizer.json", "model.safetensors"),
    }


def test_the_manifest_has_a_digest_of_every_other_file(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "c")
    finish(folder, metrics={"accuracy": 0.5}, lineage={"encoder": "models/mini/versions/1"})
    manifest = json.loads((folder / "stillroom.json").read_text())
    found = digests(folder)
    found.pop("stillroom.json")
    assert manifest["files"] == found
    assert manifest["kind"] == "classifier"
    assert manifest["metrics"] == {"accuracy": 0.5}
    assert manifest["options"] == describe()["options"]


def test_an_encoder_that_was_not_tuned_is_the_same_bytes(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", dtype="int8", mapping=True)
    folder = write(tmp_path / "c", student)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (folder / name).read_bytes() == (student / name).read_bytes()


@pytest.mark.parametrize("element_type", [None, "float32", "float16", "int8"])
def test_a_tuned_table_replaces_the_students_own(tmp_path: Path, element_type: str | None) -> None:
    student = write_student(tmp_path / "student", dtype="int8", mapping=True)
    own = StudentFiles.load(student)
    rng = np.random.default_rng(0)
    table = rng.standard_normal((own.vocabulary_size, 24)).astype(np.float32)
    weights = rng.uniform(0.5, 2, own.vocabulary_size).astype(np.float32)
    folder = write(tmp_path / "c", student, table=table, weights=weights, element_type=element_type)
    tuned = StudentFiles.load(folder)
    wanted = table * weights[:, None]
    wanted[own.unk_id] = 0
    slack = {"float32": 1e-6, "float16": 4e-3, "int8": 4e-2}[element_type or "int8"]
    np.testing.assert_allclose(tuned.effective_table(), wanted, atol=slack)
    assert tuned.table.dtype == np.dtype(element_type or "int8")
    assert tuned.config["embedding_dtype"] == (element_type or "int8")


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_tuned_weights_multiply_the_students_rows(tmp_path: Path, dtype: str) -> None:
    student = write_student(tmp_path / "student", dtype=dtype)
    own = StudentFiles.load(student)
    weights = np.random.default_rng(0).uniform(0.5, 2, own.vocabulary_size).astype(np.float32)
    tuned = StudentFiles.load(write(tmp_path / "c", student, weights=weights))
    wanted = own.effective_table() * weights[:, None]
    np.testing.assert_allclose(tuned.effective_table(), wanted, rtol=1e-5)
    before, after = load_file(student / "model.safetensors"), tuned.table
    assert before["embeddings"].tobytes() == after.tobytes()


def test_what_does_not_fit_the_student_is_refused(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student")
    with pytest.raises(Internal, match="tuned table"):
        write(tmp_path / "c", student, table=np.zeros((3, 24), np.float32))
    with pytest.raises(Internal, match="tuned weights"):
        write(tmp_path / "d", student, weights=np.zeros(3, np.float32))


def test_a_shorter_tuned_table_will_do(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student")
    size = StudentFiles.load(student).vocabulary_size
    table = np.random.default_rng(0).standard_normal((size, 9)).astype(np.float32)
    write_classifier(
        tmp_path / "c",
        encoder_folder=student,
        encoder_kind="static",
        head=HeadArrays(layers(9)),
        description=describe(dimensions=9, options={"encoding": {"dimensions": 9}}),
        table=table,
    )
    classifier = Classifier.load(tmp_path / "c")
    how = classifier.plan(ClassifyOptions(include_embeddings=True))
    found = classifier.classify(TEXTS, how).vectors
    assert found is not None
    assert found.shape == (len(TEXTS), 9)


def test_the_students_prompts_come_along(tmp_path: Path) -> None:
    student = write_student(tmp_path / "student", config={"prompts": {"a": "a: "}})
    (student / "stillroom.json").write_text(json.dumps({"prompts": {"b": "b: "}}))
    folder = write(tmp_path / "c", student)
    assert StudentFiles.load(folder).prompts == {"a": "a: ", "b": "b: "}


def test_the_card_shows_texts_as_they_are(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "c", task=MULTI)
    card = {"title": "A *bold* <b>title</b>", "base_model": "owner/name", "language": "en"}
    finish(folder, card=card, report_markdown="## How good it is\n\n| a |\n|---|\n| 1 |\n")
    text = (folder / "README.md").read_text()
    assert "# A \\*bold\\* &lt;b&gt;title&lt;/b&gt;" in text
    assert "3. fees &amp; &lt;rates&gt;" in text
    assert "base_model: owner/name" in text
    assert "pipeline_tag: text-classification" in text
    assert text.endswith("## How good it is\n\n| a |\n|---|\n| 1 |\n")
    assert "<rates>" not in text
