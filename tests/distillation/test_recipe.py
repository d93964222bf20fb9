"""From a teacher's folder to a student's, for every family and option."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distillation.conftest import KINDS
from distillation.teachers import with_modules
from model2vec import StaticModel
from safetensors.numpy import load_file
from sentence_transformers.base.modules import Dense, Normalize
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer

from stillroom_registry.errors import Cancelled, FailedPrecondition, InvalidArgument
from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.recipe import PHASES, distill_static
from stillroom_server.distillation.teacher import Teacher

Maker = Callable[[str], Path]
PLAIN = {"dimensions": None, "sif_coefficient": None, "element_type": "float32"}


class Recorder:
    """A context that remembers, and cancels at a chosen call."""

    def __init__(self, cancel_in: str | None = None) -> None:
        self.seen: list[tuple[str, int, int]] = []
        self._cancel_in = cancel_in

    def progress(self, phase: str, done: int, total: int, *, unit: str, message: str = "") -> None:
        self.seen.append((phase, done, total))

    def check_cancelled(self) -> None:
        if self.seen[-1][0] == self._cancel_in:
            raise Cancelled("stop")


def distill(teacher: Path, output: Path, **options: Any) -> tuple[np.ndarray, Tokenizer]:
    """The stored table and the tokenizer of a student without the ONNX form."""
    distill_static(
        teacher, output, StaticOptions(**options), device="cpu", dtype="float32", verify=False
    )
    table = load_file(output / "model.safetensors")["embeddings"]
    return table, Tokenizer.from_file(str(output / "tokenizer.json"))


def files_of(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_of_every_family(teacher_of: Maker, tmp_path: Path, kind: str) -> None:
    context = Recorder()
    options = StaticOptions(dimensions=16, add_words=("zymurgy",))
    report = distill_static(teacher_of(kind), tmp_path, options, context, dtype="float32")
    student = StaticModel.from_pretrained(tmp_path)
    vectors = student.encode(["the house of zymurgy", "the quick fox"])
    assert vectors.shape == (2, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert report["vocabulary_size"] == len(student.tokens)
    assert report["dimensions"] == 16
    assert 0.5 < report["explained_variance"] < 1
    assert report["onnx_parity"]["min_cosine"] > 0.99999
    assert report["onnx_parity"]["runs"] == 200
    assert report["student_bytes"] == (tmp_path / "model.safetensors").stat().st_size
    assert report["teacher_bytes"] == (teacher_of(kind) / "model.safetensors").stat().st_size
    assert list(report["seconds"]) == list(PHASES)
    assert list(dict.fromkeys(phase for phase, _, _ in context.seen)) == list(PHASES)
    for phase in PHASES:
        seen = [(done, total) for name, done, total in context.seen if name == phase]
        assert seen == sorted(seen)
        assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_the_teachers_vectors_of_single_tokens(
    teacher_of: Maker, tmp_path: Path, kind: str
) -> None:
    """Without PCA and weights, a row is what the teacher says of the token as a text."""
    table, tokenizer = distill(teacher_of(kind), tmp_path, **PLAIN, add_words=("zymurgy",))
    teacher = Teacher.load(teacher_of(kind), "cpu", "float32")
    spelled = (token.lstrip("Ġ▁") for token in tokenizer.get_vocab())
    words = [w for w in spelled if w.isalpha() and len(tokenizer.encode(w)) == 1]
    rows = [tokenizer.encode(word).ids for word in words]
    assert len(words) > 20
    assert "zymurgy" in words
    # Byte-level students begin a text as a word in its middle begins.
    space = " " if kind in ("roberta", "modernbert", "qwen3") else ""
    texts = [space + word for word in words]
    np.testing.assert_allclose(table[[ids[0] for ids in rows]], teacher.encode(texts), atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_two_runs_give_the_same_bytes(teacher_of: Maker, tmp_path: Path, kind: str) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        distill_static(teacher_of(kind), folder, StaticOptions(add_words=("zymurgy",), seed=3))
    first, second = map(files_of, folders)
    assert first == second
    assert {"model.safetensors", "onnx/model.onnx", "stillroom.json"} <= set(first)


def test_the_teachers_modules_and_prompt_are_honored(teacher_of: Maker, tmp_path: Path) -> None:
    base = teacher_of("xlm-roberta")
    steps = [
        lambda: Pooling(32, pooling_mode=("cls", "mean"), include_prompt=False),
        lambda: Dense(64, 20, activation_function=torch.nn.Tanh()),
    ]
    prompts = {"prompts": {"query": "who keeps the "}}
    teacher = with_modules(base, tmp_path / "t", *steps, **prompts)
    normalized = with_modules(base, tmp_path / "n", *steps, Normalize, **prompts)
    table, tokenizer = distill(teacher, tmp_path / "s", **PLAIN, prompt_name="query")
    row = tokenizer.encode("house").ids
    expected = Teacher.load(teacher, "cpu", "float32").encode(["house"], prompt_name="query")
    np.testing.assert_allclose(table[row], expected, atol=2e-5)
    plain, _ = distill(teacher, tmp_path / "p", **PLAIN)
    assert np.abs(plain[row] - table[row]).max() > 1e-3
    # A final Normalize is left to the student, whose rows keep their lengths.
    same, _ = distill(normalized, tmp_path / "m", **PLAIN, prompt_name="query")
    np.testing.assert_array_equal(same, table)


@pytest.mark.parametrize("pooling", ["cls", "max", "lasttoken", "pooler"])
def test_another_pooling(teacher_of: Maker, tmp_path: Path, pooling: str) -> None:
    table, tokenizer = distill(teacher_of("bert"), tmp_path, **PLAIN, pooling=pooling)
    teacher = Teacher.load(teacher_of("bert"), "cpu", "float32", pooling=pooling, native=False)
    row = tokenizer.encode("dog").ids[:1]
    np.testing.assert_allclose(
        table[row], teacher.encode([tokenizer.id_to_token(row[0])]), atol=2e-5
    )


def test_pca_turns_and_scales_and_weights_follow(teacher_of: Maker, tmp_path: Path) -> None:
    full, _ = distill(teacher_of("bert"), tmp_path / "a", **PLAIN)
    turned, _ = distill(teacher_of("bert"), tmp_path / "b", **{**PLAIN, "dimensions": 8})
    heard = full.any(axis=1)
    with_one = np.column_stack([full[heard], np.ones(heard.sum())])
    _, residual, rank, _ = np.linalg.lstsq(with_one, turned[heard], rcond=None)
    assert rank == 33
    assert np.abs(residual).max() < 1e-6  # an affine map of the teacher's vectors
    weighted, _ = distill(teacher_of("bert"), tmp_path / "c", **{**PLAIN, "sif_coefficient": 1e-2})
    ratio = np.linalg.norm(weighted[heard], axis=1) / np.linalg.norm(full[heard], axis=1)
    assert (np.diff(ratio) > 0).all()


def test_a_share_of_the_variance(teacher_of: Maker, tmp_path: Path) -> None:
    reports = [
        distill_static(
            teacher_of("bert"), tmp_path / str(d), StaticOptions(dimensions=d), verify=False
        )
        for d in (0.6, 0.9)
    ]
    few, many = (report["dimensions"] for report in reports)
    assert 1 <= few < many < 32
    assert reports[0]["explained_variance"] >= 0.6
    assert reports[1]["explained_variance"] >= 0.9


@pytest.mark.parametrize("element_type", ["float32", "float16", "int8"])
def test_element_types(teacher_of: Maker, tmp_path: Path, element_type: str) -> None:
    exact, _ = distill(teacher_of("bert"), tmp_path / "exact", element_type="float32")
    stored, _ = distill(teacher_of("bert"), tmp_path / "stored", element_type=element_type)
    assert stored.dtype == np.dtype(element_type)
    scales = load_file(tmp_path / "stored" / "model.safetensors").get("weights", np.ones(1))
    found = stored.astype(np.float32) * scales[:, None]
    np.testing.assert_allclose(found, exact, atol=np.abs(exact).max() / 200)


@pytest.mark.parametrize("phase", ["encode", "reduce", "write", "verify"])
def test_cancelling(teacher_of: Maker, tmp_path: Path, phase: str) -> None:
    with pytest.raises(Cancelled):
        distill_static(teacher_of("bert"), tmp_path, context=Recorder(cancel_in=phase))


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("static.dimensions", {"dimensions": 33}),
        ("static.prompt_name", {"prompt_name": "query"}),
        ("static.remove_tokens[0]", {"remove_tokens": ("no such token",)}),
        ("static.remove_pattern", {"remove_pattern": "."}),
        ("static.add_words[0]", {"add_words": ("the",)}),
    ],
)
def test_options_are_held_against_the_teacher_before_any_work(
    teacher_of: Maker, tmp_path: Path, field: str, options: dict[str, Any]
) -> None:
    context = Recorder()
    with pytest.raises(InvalidArgument) as caught:
        distill_static(teacher_of("bert"), tmp_path / "s", StaticOptions(**options), context)
    assert caught.value.field == field
    assert {phase for phase, _, _ in context.seen} == {"load"}
    assert not (tmp_path / "s").exists()


def test_a_teacher_that_overflows(bert: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file as load
    from safetensors.torch import save_file as save

    weights = load(bert / "model.safetensors")
    weights["embeddings.LayerNorm.bias"][:] = float("nan")
    save(weights, bert / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(FailedPrecondition) as caught:
        distill_static(bert, tmp_path / "s")
    assert caught.value.reason == "TEACHER_NOT_FINITE"


@pytest.mark.teacher
def test_minilms_vocabulary_is_model2vecs(minilm: Path) -> None:
    """What model2vec 0.10 keeps of it: all but the spare tokens, [CLS], [SEP] and [MASK]."""
    from stillroom_server.distillation.vocabulary import build_vocabulary

    source = json.loads((minilm / "tokenizer.json").read_text())["model"]["vocab"]
    dropped = {"[CLS]", "[SEP]", "[MASK]", *(f"[unused{i}]" for i in range(994))}
    expected = [t for t in sorted(source, key=source.__getitem__) if t not in dropped]
    made = build_vocabulary((minilm / "tokenizer.json").read_text())
    tokenizer = Tokenizer.from_str(made.tokenizer_json)
    assert len(made) == len(expected) == 29_525
    assert [tokenizer.id_to_token(row) for row in range(len(made))] == expected


@pytest.mark.parametrize("kind", ["bert", "mpnet", "roberta"])
def test_without_pca_and_weights_rows_are_model2vecs(
    teacher_of: Maker, tmp_path: Path, kind: str
) -> None:
    """Where both do the same, they agree: the peer's own distillation, row by row."""
    from model2vec.distill import distill as distill_with_model2vec

    theirs = distill_with_model2vec(
        str(teacher_of(kind)), device="cpu", pca_dims=None, sif_coefficient=None,
        quantize_to="float32",
    )  # fmt: skip
    table, tokenizer = distill(teacher_of(kind), tmp_path, **PLAIN)
    rows = tokenizer.get_vocab()
    heard = [t for t in theirs.tokens if t in rows and table[rows[t]].any()]
    assert len(heard) > 150
    expected = theirs.embedding[[theirs.tokens.index(token) for token in heard]]
    np.testing.assert_allclose(table[[rows[t] for t in heard]], expected, atol=2e-5)
    assert heard == sorted(heard, key=rows.__getitem__)
