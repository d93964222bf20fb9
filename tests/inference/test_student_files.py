"""Corrupt and hostile student folders: each refused, and the file named."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.students import byte_bpe, unigram, wordpiece, write_student
from stillroom_registry.errors import DataLoss, InvalidArgument
from stillroom_server.inference.embedder import StudentEmbedder
from stillroom_server.inference.student_files import StudentFiles

SIZE = len(json.loads(wordpiece())["model"]["vocab"])


def test_a_student_as_written(tmp_path: Path) -> None:
    folder = write_student(
        tmp_path, dtype="float16", weights=True, mapping=True, config={"max_length": 77}
    )
    files = StudentFiles.load(folder)
    assert files.table.dtype == np.float16
    assert files.table.shape == (SIZE // 2, 24)
    assert (files.dimensions, files.vocabulary_size) == (24, SIZE)
    assert (files.normalize, files.max_tokens, files.unk_id) == (True, 77, 1)
    table = files.effective_table()
    assert (table.shape, table.dtype) == ((SIZE, 24), np.float32)
    assert not table[1].any()
    assert files.mapping is not None
    assert files.weights is not None
    expected = files.weights[5] * files.table[files.mapping[5]].astype(np.float32)
    np.testing.assert_allclose(table[5], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("tokenizer_json", "unk_id"), [(unigram(), 1), (byte_bpe(), None)], ids=["unigram", "bpe"]
)
def test_unknown_token_of_other_families(
    tmp_path: Path, tokenizer_json: str, unk_id: int | None
) -> None:
    files = StudentFiles.load(write_student(tmp_path, tokenizer_json=tokenizer_json))
    assert files.unk_id == unk_id
    assert files.effective_table().any(axis=1).sum() == files.vocabulary_size - (unk_id is not None)


def test_settings_of_the_config(tmp_path: Path) -> None:
    folder = write_student(tmp_path, config={"max_length": None, "prompts": {"a": "1", "b": "2"}})
    (folder / "stillroom.json").write_text(json.dumps({"prompts": {"b": "3"}}))
    files = StudentFiles.load(folder)
    assert files.max_tokens == 1_000_000
    assert files.prompts == {"a": "1", "b": "3"}
    config = json.loads((folder / "config.json").read_text())
    del config["max_length"], config["normalize"]
    (folder / "config.json").write_text(json.dumps(config))
    files = StudentFiles.load(folder)
    assert (files.max_tokens, files.normalize) == (512, False)


def test_truncation_padding_and_post_processor_are_dropped(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, processors

    tokenizer = Tokenizer.from_str(wordpiece())
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    tokenizer.post_processor = processors.TemplateProcessing("[PAD] $A", None, [("[PAD]", 0)])
    folder = write_student(tmp_path, tokenizer_json=tokenizer.to_str())
    for name in ("huggingface", "nanotoken"):
        embedder = StudentEmbedder.load(folder, tokenizer=name)
        assert embedder.info.tokenizer == name
        assert embedder.embed(["the card has not", "the"]).tokens.tolist() == [4, 1]


def rewrite(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return apply


def tensors(**arrays: Any) -> Callable[[Path], object]:
    return lambda folder: write_student(folder, tensors=arrays)


def header(length: int, content: bytes = b"") -> Callable[[Path], object]:
    return lambda folder: (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", length) + content
    )


def spoiled(value: float) -> np.ndarray[Any, Any]:
    table = np.ones((SIZE, 8), np.float32)
    table[3, 3] = value
    return table


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def fifo(name: str) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return apply


BAD: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "config.json", "FILE_MISSING"),
    "config no JSON": (
        lambda f: (f / "config.json").write_text("{"),
        "config.json",
        "FILE_NOT_JSON",
    ),
    "config a list": (
        lambda f: (f / "config.json").write_text("[]"),
        "config.json",
        "FILE_NOT_JSON",
    ),
    "config not UTF-8": (
        lambda f: (f / "config.json").write_bytes(b'{"a": "\xff"}'),
        "config.json",
        "FILE_NOT_JSON",
    ),
    "config nested too deep": (
        lambda f: (f / "config.json").write_text('{"a":' * 90_000),
        "config.json",
        "FILE_NOT_JSON",
    ),
    "config too large": (
        lambda f: (f / "config.json").write_text(" " * (1 << 20) + "{}"),
        "config.json",
        "FILE_TOO_LARGE",
    ),
    "config a pipe": (fifo("config.json"), "config.json", "FILE_NOT_REGULAR"),
    "normalize no boolean": (
        rewrite("config.json", lambda c: c.update(normalize="yes")),
        "config.json",
        "CONFIG_INVALID",
    ),
    "max_length zero": (
        rewrite("config.json", lambda c: c.update(max_length=0)),
        "config.json",
        "CONFIG_INVALID",
    ),
    "max_length true": (
        rewrite("config.json", lambda c: c.update(max_length=True)),
        "config.json",
        "CONFIG_INVALID",
    ),
    "prompts no strings": (
        rewrite("config.json", lambda c: c.update(prompts={"a": 1})),
        "config.json",
        "CONFIG_INVALID",
    ),
    "stillroom.json no JSON": (
        lambda f: (f / "stillroom.json").write_text("?"),
        "stillroom.json",
        "FILE_NOT_JSON",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json", "FILE_MISSING"),
    "tokenizer without model": (
        rewrite("tokenizer.json", lambda t: t.pop("model")),
        "tokenizer.json",
        "TOKENIZER_INVALID",
    ),
    "tokenizer without words": (
        rewrite("tokenizer.json", lambda t: (t["model"].update(vocab={}), t.pop("added_tokens"))),
        "tokenizer.json",
        "TOKENIZER_INVALID",
    ),
    "negative id": (
        rewrite("tokenizer.json", lambda t: t["model"]["vocab"].update(the=-3)),
        "tokenizer.json",
        "TOKENIZER_INVALID",
    ),
    "id no integer": (
        rewrite("tokenizer.json", lambda t: t["model"]["vocab"].update(the="3")),
        "tokenizer.json",
        "TOKENIZER_INVALID",
    ),
    "unknown kind of tokenizer": (
        rewrite("tokenizer.json", lambda t: t["model"].update(type="Magic")),
        "tokenizer.json",
        "TOKENIZER_INVALID",
    ),
    "no weights file": (
        lambda f: (f / "model.safetensors").unlink(),
        "model.safetensors",
        "FILE_MISSING",
    ),
    "weights a pipe": (fifo("model.safetensors"), "model.safetensors", "FILE_NOT_REGULAR"),
    "empty": (
        lambda f: (f / "model.safetensors").write_bytes(b""),
        "model.safetensors",
        "SAFETENSORS_CORRUPT",
    ),
    "huge header": (header(1 << 40), "model.safetensors", "SAFETENSORS_CORRUPT"),
    "header beyond the file": (header(900, b"{}"), "model.safetensors", "SAFETENSORS_CORRUPT"),
    "header no JSON": (header(4, b"\x80abc"), "model.safetensors", "SAFETENSORS_CORRUPT"),
    "cut short": (cut_short, "model.safetensors", "SAFETENSORS_CORRUPT"),
    "no table": (
        tensors(embeddings=None, other=np.ones(3, np.float32)),
        "model.safetensors",
        "TENSOR_MISSING",
    ),
    "table of a wrong type": (
        tensors(embeddings=np.ones((SIZE, 8), np.float64)),
        "model.safetensors",
        "TENSOR_TYPE",
    ),
    "table of one axis": (
        tensors(embeddings=np.ones(SIZE, np.float32)),
        "model.safetensors",
        "TENSOR_SHAPE",
    ),
    "table without columns": (
        tensors(embeddings=np.ones((SIZE, 0), np.float32)),
        "model.safetensors",
        "TENSOR_SHAPE",
    ),
    "a row too few": (
        tensors(embeddings=np.ones((SIZE - 1, 8), np.float32)),
        "model.safetensors",
        "TENSOR_SHAPE",
    ),
    "NaN": (tensors(embeddings=spoiled(np.nan)), "model.safetensors", "TENSOR_NOT_FINITE"),
    "infinity": (tensors(embeddings=spoiled(-np.inf)), "model.safetensors", "TENSOR_NOT_FINITE"),
    "squares overflow": (
        tensors(embeddings=spoiled(1e25)),
        "model.safetensors",
        "TENSOR_NOT_FINITE",
    ),
    "NaN weight": (
        tensors(weights=np.full(SIZE, np.nan, np.float32)),
        "model.safetensors",
        "TENSOR_NOT_FINITE",
    ),
    "weights too short": (
        tensors(weights=np.ones(SIZE - 1, np.float32)),
        "model.safetensors",
        "TENSOR_SHAPE",
    ),
    "mapping of floats": (
        tensors(mapping=np.zeros(SIZE, np.float32)),
        "model.safetensors",
        "TENSOR_TYPE",
    ),
    "mapping beyond the table": (
        tensors(mapping=np.full(SIZE, SIZE)),
        "model.safetensors",
        "MAPPING_OUT_OF_RANGE",
    ),
    "mapping negative": (
        tensors(mapping=np.full(SIZE, -1)),
        "model.safetensors",
        "MAPPING_OUT_OF_RANGE",
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("blame", [DataLoss, InvalidArgument])
def test_bad_files_are_named(
    tmp_path: Path, case: str, blame: type[DataLoss] | type[InvalidArgument]
) -> None:
    spoil, file, reason = BAD[case]
    folder = write_student(tmp_path)
    spoil(folder)
    with pytest.raises(blame) as caught:
        StudentEmbedder.load(folder, tokenizer="huggingface", blame=blame)
    assert caught.value.reason == reason
    assert caught.value.metadata["file"] == file
    assert caught.value.message.startswith(f"{file}: ")


def test_a_small_file_cannot_ask_for_a_huge_table(tmp_path: Path) -> None:
    vocabulary = {"[UNK]": 0} | {f"w{index}": index for index in range(1, 40_000)}
    spec = json.loads(wordpiece())
    spec["added_tokens"] = []
    spec["model"]["vocab"] = vocabulary
    folder = write_student(tmp_path, tokenizer_json=json.dumps(spec), dimensions=1)
    write_student(
        folder,
        tokenizer_json=json.dumps(spec),
        dimensions=1,
        tensors={
            "embeddings": np.zeros((1, 60_000), np.int8),
            "mapping": np.zeros(40_000, np.int64),
        },
    )
    with pytest.raises(DataLoss) as caught:
        StudentFiles.load(folder)
    assert caught.value.reason == "TENSOR_TOO_LARGE"
