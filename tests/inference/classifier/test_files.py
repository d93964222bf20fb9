"""Files that nobody vouches for: every one that is wrong is refused by its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from inference.classifier.folders import MULTI, write_tiny
from stillroom_registry.errors import DataLoss, InvalidArgument
from stillroom_server.inference.classifier.classifier import Classifier
from stillroom_server.inference.classifier.files import (
    DESCRIPTION_FILE,
    TENSORS_FILE,
    ClassifierFiles,
    EncoderKind,
    describe,
    tensors_of,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "c", hidden=(7,))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / DESCRIPTION_FILE
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def replace(folder: Path, **tensors: np.ndarray | None) -> None:
    path = folder / TENSORS_FILE
    arrays = load_file(path)
    for name, array in tensors.items():
        name = name.replace("__", ".")
        if array is None:
            arrays.pop(name)
        else:
            arrays[name] = array
    save_file(arrays, path)


def test_what_was_written_is_read(folder: Path) -> None:
    files = ClassifierFiles.load(folder)
    assert files.encoder is EncoderKind.STATIC
    assert files.stated["encoder_version"] == "models/mini/versions/1"
    assert "format" not in files.stated
    assert json.loads((folder / DESCRIPTION_FILE).read_text()) == describe(
        files.stated, files.encoder, files.head
    )
    stored = load_file(folder / TENSORS_FILE)
    assert {name: array.tolist() for name, array in tensors_of(files.head).items()} == {
        name: array.tolist() for name, array in stored.items()
    }
    assert stored["layers.0.weight"].shape == (7, 24)  # as torch stores it
    assert files.head.ngrams is not None
    assert (files.head.ngrams.min_n, files.head.ngrams.max_n) == (1, 3)


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(task="CLASSIFICATION_TASK_OTHER"),
        lambda c: c.update(labels=[]),
        lambda c: c.update(labels="abcde"[:1]),
        lambda c: c.update(labels=["a", "b", "a", "c", "d"]),
        lambda c: c.update(labels=["a", "b", "c", "d", 5]),
        lambda c: c.update(labels=["a", "b"]),
        lambda c: c.pop("labels"),
        lambda c: c.update(thresholds=[0.5]),
        lambda c: c.update(task=MULTI),
        lambda c: c.update(temperature=0.0),
        lambda c: c.update(temperature="warm"),
        lambda c: c.update(abstention_threshold=1.5),
        lambda c: c.update(dimensions=25),
        lambda c: c.update(dimensions="24"),
        lambda c: c.update(max_tokens=0),
        lambda c: c.update(options=[1]),
        lambda c: c.update(options={"encoding": {"max_tokens": "many"}}),
        lambda c: c.update(encoder_kind="oracle"),
        lambda c: c.update(encoder_kind="teacher"),  # whose texts have no n-grams
        lambda c: c.update(ngrams={"min_n": 3, "max_n": 2}),
        lambda c: c.update(ngrams={"min_n": 1, "max_n": 99}),
        lambda c: c.update(ngrams=7),
    ],
)
def test_a_description_that_is_none_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(folder, change)
    with pytest.raises(DataLoss, match=r"classifier\.json") as caught:
        ClassifierFiles.load(folder)
    assert caught.value.reason == "DESCRIPTION_INVALID"
    assert caught.value.metadata["file"] == DESCRIPTION_FILE


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 2}', "\xff"])
def test_no_json_of_this_format_is_refused(folder: Path, text: str) -> None:
    (folder / DESCRIPTION_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataLoss, match=r"classifier\.json"):
        ClassifierFiles.load(folder)


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"layers__0__weight": None}, "TENSOR_MISSING"),
        ({"layers__0__bias": None}, "TENSOR_MISSING"),
        ({"ngrams__rows": None}, "TENSOR_MISSING"),
        ({"layers__0__weight": np.zeros((7, 24))}, "TENSOR_TYPE"),
        ({"layers__1__weight": np.zeros((5, 8), np.float32)}, "TENSOR_SHAPE"),
        ({"layers__0__bias": np.zeros((7, 1), np.float32)}, "TENSOR_SHAPE"),
        ({"layers__1__bias": np.full(5, np.nan, np.float32)}, "TENSOR_NOT_FINITE"),
        ({"layers__1__bias": np.full(5, 1e30, np.float32)}, "TENSOR_NOT_FINITE"),
        ({"ngrams__slots": np.zeros(1000, np.int32)}, "SLOTS_INVALID"),
        ({"ngrams__slots": np.full(1024, 9999, np.int32)}, "SLOTS_INVALID"),
        ({"ngrams__slots": np.full(1024, -1, np.int32)}, "SLOTS_INVALID"),
        ({"ngrams__prints": np.zeros(64, np.int32)}, "SLOTS_INVALID"),
        ({"ngrams__rows": np.ones((400, 5), np.float32)}, "TENSOR_SHAPE"),
        ({"ngrams__rows": np.zeros((400, 4), np.float32)}, "TENSOR_SHAPE"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    folder: Path, tensors: dict[str, Any], reason: str
) -> None:
    replace(folder, **tensors)
    with pytest.raises(DataLoss, match=r"classifier\.safetensors") as caught:
        ClassifierFiles.load(folder)
    assert caught.value.reason == reason


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\xff" * 400, b"\0" * 64])
def test_a_file_of_no_tensors_is_refused(folder: Path, content: bytes) -> None:
    (folder / TENSORS_FILE).write_bytes(content)
    with pytest.raises(DataLoss, match=r"classifier\.safetensors"):
        ClassifierFiles.load(folder)


@pytest.mark.parametrize("file", [DESCRIPTION_FILE, TENSORS_FILE, "config.json", "tokenizer.json"])
def test_a_missing_file_is_named_and_blamed_as_told(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(InvalidArgument) as caught:
        Classifier.load(folder, blame=InvalidArgument)
    assert caught.value.metadata["file"] == file
