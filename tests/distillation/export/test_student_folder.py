"""The folder of a student: what it holds, byte for byte, and what it refuses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from distillation.export.tiny import LONG_TEXT, TOKENIZERS, table_for, wordpiece, write_tiny
from huggingface_hub import ModelCard
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from stillroom_registry.errors import DataLoss, InvalidArgument
from stillroom_server.distillation.export.card import escape
from stillroom_server.distillation.export.manifest import reseal
from stillroom_server.distillation.export.reference import StudentArrays, encode, load_tokenizer
from stillroom_server.distillation.export.student_folder import write_student


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_holds_every_file_and_the_same_bytes_every_time(tmp_path: Path) -> None:
    write_tiny(tmp_path / "a")
    write_tiny(tmp_path / "b")
    names = {p.name for p in (tmp_path / "a").iterdir()}
    assert names == {
        "config.json",
        "tokenizer.json",
        "model.safetensors",
        "modules.json",
        "README.md",
        "stillroom.json",
    }
    assert all(digest(tmp_path / "a" / n) == digest(tmp_path / "b" / n) for n in names)


def test_config_says_what_model2vec_reads_and_extra_cannot_contradict_it(tmp_path: Path) -> None:
    write_tiny(tmp_path, max_tokens=77, config_extra={"sif_coefficient": 1e-4, "normalize": False})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model_type"] == "model2vec"
    assert config["architectures"] == ["StaticModel"]
    assert (config["hidden_dim"], config["max_length"]) == (24, 77)
    assert config["normalize"] is True
    assert config["embedding_dtype"] == "float32"
    assert config["sif_coefficient"] == 1e-4


@pytest.mark.parametrize("family", TOKENIZERS)
def test_tokenizer_neither_cuts_nor_pads_nor_adds(tmp_path: Path, family: str) -> None:
    write_tiny(tmp_path, family=family)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.truncation is None
    assert tokenizer.padding is None
    with_special = tokenizer.encode(LONG_TEXT).ids
    assert with_special == tokenizer.encode(LONG_TEXT, add_special_tokens=False).ids
    assert len(with_special) >= 512


@pytest.mark.parametrize("element_type", ["float32", "float16", "int8"])
def test_unknown_row_is_zero_and_the_rest_survives(tmp_path: Path, element_type: str) -> None:
    table = write_tiny(tmp_path, element_type=element_type)
    tensors = load_file(tmp_path / "model.safetensors")
    stored = tensors["embeddings"]
    assert stored.dtype == element_type
    assert not stored[1].any()
    assert table[1].any()  # the caller's array is not touched
    rows = stored.astype(np.float32)
    if element_type == "int8":
        rows *= tensors["weights"][:, None]
    step = {"float32": 0.0, "float16": 2**-11, "int8": 0.5 / 127}[element_type]
    bound = step * np.abs(table).max(axis=1) * 1.001 + 6e-8
    wrong = np.abs(rows - table).max(axis=1) > bound
    assert wrong.nonzero()[0].tolist() == [1]


def test_row_of_zeros_stays_zero_in_int8(tmp_path: Path) -> None:
    tokenizer = wordpiece()
    table = np.zeros((tokenizer.get_vocab_size(), 3), dtype=np.float32)
    table[5] = (1e-42, -1e-42, 0)  # too small for a scale
    table[6] = (1.0, -0.5, 0)
    write_student(
        tmp_path,
        table=table,
        tokenizer_json=tokenizer.to_str(),
        element_type="int8",
        normalize=True,
        max_tokens=None,
        config_extra={},
        card={},
        lineage={},
    )
    tensors = load_file(tmp_path / "model.safetensors")
    assert tensors["embeddings"][6].tolist() == [127, -64, 0]
    assert not tensors["embeddings"][:6].any()
    assert np.isfinite(tensors["weights"]).all()


def test_manifest_holds_lineage_and_the_digest_of_every_other_file(tmp_path: Path) -> None:
    write_tiny(tmp_path, options={"dimensions": 24}, metrics={"fidelity": 0.9})
    manifest = json.loads((tmp_path / "stillroom.json").read_text())
    assert manifest["kind"] == "student"
    assert manifest["lineage"] == {"teacher": "models/teacher/versions/1"}
    assert manifest["options"] == {"dimensions": 24}
    others = {p.name: digest(p) for p in tmp_path.iterdir() if p.name != "stillroom.json"}
    assert manifest["files"] == others


def test_reseal_follows_changed_files_and_adds_metrics(tmp_path: Path) -> None:
    write_tiny(tmp_path, metrics={"kept": 1})
    (tmp_path / "README.md").write_text("changed")
    reseal(tmp_path, metrics={"added": 2})
    manifest = json.loads((tmp_path / "stillroom.json").read_text())
    assert manifest["files"]["README.md"] == hashlib.sha256(b"changed").hexdigest()
    assert manifest["metrics"] == {"kept": 1, "added": 2}


def test_card_carries_metadata_the_hub_reads_and_shows_hostile_text_as_text(
    tmp_path: Path,
) -> None:
    card = {
        "title": "<script>alert(1)</script>\n---\n# not a heading",
        "description": "[click](https://example.com) | ![x](y) `code`",
        "base_model": "sentence-transformers/all-MiniLM-L6-v2",
        "language": "en",
        "tags": ["mine"],
        "metrics": {"a|b": 0.93751, "n": 3},
        "sections": [("Fidelity", [("nearest <b>", "ok")])],
    }
    write_tiny(tmp_path, card=card)
    loaded = ModelCard.load(tmp_path / "README.md")
    assert loaded.data.library_name == "model2vec"
    assert loaded.data.pipeline_tag == "sentence-similarity"
    assert loaded.data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert {"mine", "static-embeddings"} <= set(loaded.data.tags)
    text = loaded.text
    assert "<script>" not in text
    assert "<b>" not in text
    assert "\n# not a heading" not in text
    assert "[click]" not in text.replace("\\[click\\]", "")
    assert "https://" not in text
    assert "| a\\|b | 0.9375 |" in text


def test_a_base_model_that_is_no_hub_id_stays_out_of_the_metadata(tmp_path: Path) -> None:
    write_tiny(tmp_path, card={"base_model": "models/teacher/versions/1"})
    loaded = ModelCard.load(tmp_path / "README.md")
    assert loaded.data.base_model is None
    assert "models/teacher/versions/1" in loaded.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("- item", "\\- item"), ("1. one", "1\\. one"), ("all-MiniLM (v2)", "all-MiniLM (v2)")],
)
def test_escape(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize("rows", [0, 1, -1])
def test_refuses_a_table_that_does_not_fit_the_tokenizer(tmp_path: Path, rows: int) -> None:
    tokenizer = wordpiece()
    size = 0 if rows == 0 else tokenizer.get_vocab_size() + rows
    with pytest.raises(InvalidArgument) as caught:
        write_student(
            tmp_path,
            table=np.ones((size, 4), dtype=np.float32),
            tokenizer_json=tokenizer.to_str(),
            element_type="float32",
            normalize=True,
            max_tokens=512,
            config_extra={},
            card={},
            lineage={},
        )
    assert caught.value.reason == "TABLE_INVALID"
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("value", "element_type", "field"),
    [(np.nan, "float32", None), (7e4, "float16", "element_type"), (1.0, "int4", "element_type")],
)
def test_refuses_values_the_element_type_cannot_hold(
    tmp_path: Path, value: float, element_type: str, field: str | None
) -> None:
    tokenizer = wordpiece()
    table = table_for(tokenizer)
    table[9, 0] = value
    with pytest.raises(InvalidArgument) as caught:
        write_student(
            tmp_path,
            table=table,
            tokenizer_json=tokenizer.to_str(),
            element_type=element_type,
            normalize=True,
            max_tokens=512,
            config_extra={},
            card={},
            lineage={},
        )
    assert caught.value.field == field


def test_refuses_a_limit_below_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument) as caught:
        write_tiny(tmp_path, max_tokens=0)
    assert caught.value.field == "max_tokens"


def test_reference_by_hand(tmp_path: Path) -> None:
    table = write_tiny(tmp_path, normalize=False).astype(np.float64)
    student = StudentArrays.read(tmp_path)
    assert student.unk_id == 1
    vectors = student.vectors([[5, 1, 6], [1], [], [7]])
    np.testing.assert_allclose(vectors[0], (table[5] + table[6]) / 2, rtol=1e-12)
    assert not vectors[1:3].any()
    np.testing.assert_allclose(vectors[3], table[7], rtol=1e-12)


def test_encode_cuts_and_adds_nothing() -> None:
    ids = encode(load_tokenizer(wordpiece().to_str()), ["the a an", "zzz"], 2)
    assert ids == [[5, 6], [1]]


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "cut", "noise"])
def test_damaged_files_are_named(tmp_path: Path, name: str, damage: str) -> None:
    write_tiny(tmp_path)
    path = tmp_path / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"\xff\xfe" * 50)
    with pytest.raises(DataLoss, match=name.replace(".", r"\.")):
        StudentArrays.read(tmp_path)
