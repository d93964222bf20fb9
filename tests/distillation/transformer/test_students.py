"""From a teacher's folder to a student's, for every family: the same vectors in every reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from distillation.teachers import with_modules
from distillation.transformer import students
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import Pooling

from stillroom_server.distillation.teacher import Teacher
from stillroom_server.distillation.transformer.recipe import PHASES
from stillroom_server.distillation.transformer.restoring import store_student

Maker = Callable[[str], Path]
KINDS = ("bert", "mpnet", "roberta", "xlm-roberta", "modernbert", "decoder")


@pytest.fixture
def teacher(request: pytest.FixtureRequest, teacher_of: Maker, tmp_path: Path) -> Path:
    if request.param == "decoder":
        return students.decoder(tmp_path / "decoder")
    return teacher_of(request.param)


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        self.seen.append((phase, done, total))

    def check_cancelled(self) -> None:
        pass


def onnx_vectors(folder: Path, questions: list[str]) -> np.ndarray:
    tokens = SentenceTransformer(str(folder), device="cpu").tokenizer
    tokens.padding_side = "right"  # what the graph is told of by its documentation
    fed = tokens(questions, padding=True, return_tensors="np")
    session = onnxruntime.InferenceSession(str(folder / "onnx/model.onnx"))
    assert {item.name for item in session.get_inputs()} == {"input_ids", "attention_mask"}
    names = ("input_ids", "attention_mask")
    (found,) = session.run(None, {name: fed[name].astype(np.int64) for name in names})
    return np.asarray(found)


@pytest.mark.parametrize("teacher", KINDS, indirect=True)
def test_every_reader_gives_the_same_vectors(teacher: Path, tmp_path: Path) -> None:
    folder, context = tmp_path / "s", Recorder()
    facts = students.distill(teacher, folder, context=context)
    questions = students.QUESTIONS
    vectors = SentenceTransformer(str(folder), device="cpu").encode(questions)
    assert vectors.shape == (3, 32)
    np.testing.assert_allclose(onnx_vectors(folder, questions), vectors, atol=2e-6)
    own = Teacher.load(folder, "cpu", "float32").encode(questions)
    np.testing.assert_allclose(own, vectors, atol=2e-6)

    config = json.loads((folder / "config.json").read_text())
    assert config["num_hidden_layers"] == 1 == len(facts["layers"])
    assert facts["onnx_parity"]["min_cosine"] > 0.99999
    assert list(dict.fromkeys(phase for phase, _, _ in context.seen)) == list(PHASES)
    for phase in PHASES:
        done, total = [row[1:] for row in context.seen if row[0] == phase][-1]
        assert done == total > 0


@pytest.mark.parametrize("teacher", ["bert", "modernbert"], indirect=True)
def test_it_learns(teacher: Path, tmp_path: Path) -> None:
    facts = students.distill(teacher, tmp_path / "s", max_epochs=6, verify=False)
    first, last = facts["history"][0], facts["history"][-1]
    assert last["cosine"] > first["cosine"] + 0.02
    assert last["loss"] < facts["history"][1]["loss"]
    assert facts["epochs"] == 6
    assert facts["steps"] == 6 * 6


def test_a_student_with_every_layer_is_the_teacher(teacher_of: Maker, tmp_path: Path) -> None:
    """So layers, pooling and modules are where they were; the first measurement is before any
    step."""
    for kind in ("bert", "modernbert"):
        facts = students.distill(teacher_of(kind), tmp_path / kind, layers=2, verify=False)
        assert facts["history"][0]["cosine"] > 0.99999, kind


def test_graph_is_of_standard_operators(teacher_of: Maker, tmp_path: Path) -> None:
    students.distill(teacher_of("bert"), tmp_path / "s", element_type="int8")
    model = onnx.load(str(tmp_path / "s/onnx/model.onnx"))
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 17)]
    assert {node.domain for node in model.graph.node} == {""}


@pytest.mark.parametrize("element_type", ["float16", "int8", None])
def test_stored_types(teacher_of: Maker, tmp_path: Path, element_type: str | None) -> None:
    plain = tmp_path / "float32"
    students.distill(teacher_of("bert"), plain)
    small = tmp_path / "small"
    facts = students.distill(teacher_of("bert"), small, element_type=element_type)
    assert facts["element_type"] == element_type or element_type is None
    assert facts["cosines"][facts["element_type"]] > 0.999
    questions = students.QUESTIONS
    exact = SentenceTransformer(str(plain), device="cpu").encode(questions)
    found = onnx_vectors(small, questions)
    cosines = (exact * found).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() > 0.999
    assert np.abs(exact - found).max() > 1e-5  # it is not the float32 graph by another name
    held = load_file(small / "model.safetensors")
    assert {value.dtype for value in held.values() if value.dtype.kind == "f"} == {
        np.dtype(np.float16)
    }
    # Readers widen what they read: config.json says float32.
    loaded = SentenceTransformer(str(small), device="cpu")
    assert next(loaded.parameters()).dtype == torch.float32
    assert (small / "onnx/model.onnx").stat().st_size < (plain / "onnx/model.onnx").stat().st_size


@pytest.mark.parametrize("options", [{"dimensions": 12}, {"hidden_size": 16}])
def test_other_sizes(teacher_of: Maker, tmp_path: Path, options: dict[str, int]) -> None:
    folder = tmp_path / "s"
    facts = students.distill(teacher_of("bert"), folder, **options)
    questions = students.QUESTIONS
    vectors = SentenceTransformer(str(folder), device="cpu").encode(questions)
    assert vectors.shape == (3, options.get("dimensions", 32))
    np.testing.assert_allclose(onnx_vectors(folder, questions), vectors, atol=2e-6)
    # Least squares already says something of the teacher's space before the first step: chance
    # is 0, and how far above it depends on the machine, whose teacher is random.
    assert facts["history"][0]["cosine"] > 0.2
    assert facts["hidden_size"] == options.get("hidden_size", 32)


def test_modules_and_prompts(teacher_of: Maker, tmp_path: Path) -> None:
    """A teacher with Dense and prompts: the default prompt is what the student is trained with,
    and a reader finds it again."""
    steps = [
        lambda: Pooling(32, pooling_mode=("cls", "mean")),
        lambda: Dense(64, 20, activation_function=torch.nn.Tanh()),
        Normalize,
    ]
    prompts = {"prompts": {"query": "who keeps the "}, "default_prompt_name": "query"}
    teacher = with_modules(teacher_of("xlm-roberta"), tmp_path / "t", *steps, **prompts)
    folder = tmp_path / "s"
    facts = students.distill(teacher, folder, layers=2)
    assert facts["history"][0]["cosine"] > 0.9  # the linear map stands for Dense and Tanh
    questions = students.QUESTIONS
    read = SentenceTransformer(str(folder), device="cpu")
    prompted = [f"who keeps the {question}" for question in questions]
    vectors = read.encode(questions)
    np.testing.assert_allclose(onnx_vectors(folder, prompted), vectors, atol=2e-6)
    assert np.abs(onnx_vectors(folder, questions) - vectors).max() > 1e-3
    assert (
        json.loads((folder / "stillroom.json").read_text())["prompts"]["query"] == "who keeps the "
    )


def test_manifest_and_card(teacher_of: Maker, tmp_path: Path) -> None:
    students.distill(teacher_of("bert"), tmp_path / "s", verify=False)
    body = json.loads((tmp_path / "s/stillroom.json").read_text())
    assert (body["kind"], body["architecture"]) == ("student", "transformer")
    assert set(body["files"]) == {
        path.relative_to(tmp_path / "s").as_posix()
        for path in (tmp_path / "s").rglob("*")
        if path.is_file() and path.name != "stillroom.json"
    }
    assert "library_name: sentence-transformers" in (tmp_path / "s/README.md").read_text()


@pytest.mark.parametrize("options", [{}, {"dimensions": 12}])
def test_stored_again_is_stored_at_once(
    teacher_of: Maker, tmp_path: Path, options: dict[str, int]
) -> None:
    students.distill(teacher_of("mpnet"), tmp_path / "plain", verify=False, **options)
    students.distill(teacher_of("mpnet"), tmp_path / "once", element_type="int8", **options)
    facts = store_student(tmp_path / "plain", tmp_path / "again", "int8")
    assert students.digests(tmp_path / "again") == students.digests(tmp_path / "once")
    assert 0.999 < facts["cosines"]["int8"] < 1.0
