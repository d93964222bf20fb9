"""What a folder is, and each way of being no model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distillation.export.tiny import add_tensors, edit_json, write_tiny
from imports.folders import CONFIG, modules, safetensors, static, teacher, transformer, write
from safetensors.numpy import save_file

from stillroom_registry.errors import FailedPrecondition, InvalidArgument, StillroomError
from stillroom_server.imports.headers import main_type, parameters, read_header
from stillroom_server.imports.recognize import recognize
from stillroom_server.imports.selection import UNSAFE, SkippedFile


def test_a_sentence_transformers_teacher(tmp_path: Path) -> None:
    found = recognize(teacher(tmp_path))
    assert (found.kind, found.layout) == ("teacher", "sentence-transformers")
    assert found.weights == {"model.safetensors"}
    assert found.facts == {
        "architecture": "BertModel",
        "model_type": "bert",
        "dimensions": 8,
        "hidden_size": 8,
        "layers": 1,
        "vocabulary": CONFIG["vocab_size"],
        "pooling": ["mean"],
        "normalize": True,
        "parameters": 8 * CONFIG["vocab_size"],
        "element_type": "float32",
        "prompts": ["query"],
    }


def test_a_dense_module_counts(tmp_path: Path) -> None:
    found = recognize(teacher(tmp_path, dense=True))
    assert found.facts["dimensions"] == 5
    assert found.facts["parameters"] == 8 * CONFIG["vocab_size"] + 40
    assert found.weights == {"model.safetensors", "2_Dense/model.safetensors"}


def test_a_plain_transformer(tmp_path: Path) -> None:
    found = recognize(transformer(tmp_path))
    assert (found.kind, found.layout) == ("teacher", "transformers")
    assert found.facts["pooling"] == ["mean"]
    assert found.facts["normalize"] is False


def test_shards(tmp_path: Path) -> None:
    transformer(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    for number in (1, 2):
        tensors = {f"w{number}": np.ones((number, 3), dtype=np.float16)}
        save_file(tensors, tmp_path / f"model-{number}.safetensors")
    index = {"weight_map": {"w1": "model-1.safetensors", "w2": "model-2.safetensors"}}
    write(tmp_path / "model.safetensors.index.json", index)
    found = recognize(tmp_path)
    assert found.weights == {"model-1.safetensors", "model-2.safetensors"}
    assert (found.facts["parameters"], found.facts["element_type"]) == (9, "float16")


def test_students(tmp_path: Path) -> None:
    write_tiny(tmp_path / "ours", element_type="int8")
    assert recognize(tmp_path / "ours").layout == "stillroom"
    (tmp_path / "ours/stillroom.json").unlink()
    found = recognize(tmp_path / "ours")
    assert (found.kind, found.layout) == ("student", "model2vec")
    assert found.facts["element_type"] == "int8"
    assert found.facts["dimensions"] == 24


def test_a_quantized_vocabulary_has_the_size_of_its_mapping(tmp_path: Path) -> None:
    rows = len(write_tiny(tmp_path))
    add_tensors(
        tmp_path, embeddings=np.ones((3, 24), dtype=np.float32), mapping=np.zeros(rows, np.int64)
    )
    facts = recognize(tmp_path).facts
    assert (facts["rows"], facts["vocabulary"]) == (3, rows)


@pytest.mark.parametrize("nested", [True, False])
def test_static_embeddings(tmp_path: Path, nested: bool) -> None:
    found = recognize(static(tmp_path, np.ones((9, 4), dtype=np.float32), nested=nested))
    assert (found.kind, found.layout) == ("student", "sentence-transformers-static")
    assert found.static == ("0_StaticEmbedding" if nested else "")


def refused(folder: Path, *skipped: str) -> StillroomError:
    with pytest.raises(StillroomError) as caught:
        recognize(folder, [SkippedFile(path, UNSAFE) for path in skipped])
    assert caught.value.field == "source"
    assert not isinstance(caught.value, AssertionError)
    return caught.value


def test_an_empty_folder(tmp_path: Path) -> None:
    error = refused(tmp_path)
    assert isinstance(error, InvalidArgument)
    assert error.reason == "NOT_A_MODEL"


def test_a_folder_of_other_things(tmp_path: Path) -> None:
    write(tmp_path / "config.json", {"name": "an application"})
    assert refused(tmp_path).reason == "NOT_A_MODEL"


@pytest.mark.parametrize("where", ["in the folder", "left out of it"])
def test_a_pickle_alone_is_refused(tmp_path: Path, where: str) -> None:
    transformer(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    if where == "in the folder":
        write(tmp_path / "pytorch_model.bin", b"\x80\x02")
        error = refused(tmp_path)
    else:
        error = refused(tmp_path, "pytorch_model.bin")
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "PICKLE_REFUSED"
    assert "safetensors" in error.message


def test_a_pickle_of_a_module_alone_is_refused(tmp_path: Path) -> None:
    teacher(tmp_path, dense=True)
    (tmp_path / "2_Dense/model.safetensors").unlink()
    assert refused(tmp_path, "2_Dense/pytorch_model.bin").reason == "PICKLE_REFUSED"
    # A pickle elsewhere does not explain why these weights are missing.
    assert refused(tmp_path, "other/pytorch_model.bin").reason == "NOT_A_MODEL"


def test_a_students_pickle_is_refused(tmp_path: Path) -> None:
    static(tmp_path, np.ones((9, 4), dtype=np.float32))
    (tmp_path / "model.safetensors").unlink()
    assert refused(tmp_path, "pytorch_model.bin").reason == "PICKLE_REFUSED"
    assert refused(tmp_path).reason == "NOT_A_MODEL"


@pytest.mark.parametrize("make", [transformer, lambda f: static(f, np.ones((9, 4), np.float32))])
def test_no_fast_tokenizer(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    make(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    write(tmp_path / "vocab.txt", "[PAD]\n[UNK]\n")
    error = refused(tmp_path)
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "NO_FAST_TOKENIZER"
    assert "save_pretrained" in error.message


def test_code_of_the_models_own(tmp_path: Path) -> None:
    transformer(tmp_path, auto_map={"AutoModel": "modeling.Model"})
    assert refused(tmp_path).reason == "REMOTE_CODE_REFUSED"
    edit_json(tmp_path / "config.json", auto_map={"AutoModelForMaskedLM": "modeling.Other"})
    assert "auto_map" in recognize(tmp_path).notes[0]


@pytest.mark.parametrize(
    "types",
    [
        ("Transformer", "Pooling", "my_package.Evil"),
        ("Transformer", "Pooling", "WordWeights"),
        ("Transformer", "Pooling", "os.system"),
        ("CLIPModel",),
        ("StaticEmbedding", "Dense"),
        ("StaticEmbedding", "my_package.Normalize"),
    ],
)
def test_unsupported_modules(tmp_path: Path, types: tuple[str, ...]) -> None:
    teacher(tmp_path)
    modules(tmp_path, *types)
    error = refused(tmp_path)
    assert error.reason == "UNSUPPORTED_MODULE"
    assert error.metadata["module"].endswith(types[-1])


@pytest.mark.parametrize("path", ["../other", "/etc", "a/../../b"])
def test_modules_outside_the_folder(tmp_path: Path, path: str) -> None:
    teacher(tmp_path)
    listed = json.loads((tmp_path / "modules.json").read_text())
    listed[0]["path"] = path
    write(tmp_path / "modules.json", listed)
    assert refused(tmp_path).reason == "PATH_ESCAPES"


def test_shards_outside_the_folder(tmp_path: Path) -> None:
    transformer(tmp_path / "model")
    transformer(tmp_path / "other")
    (tmp_path / "model/model.safetensors").unlink()
    index = {"weight_map": {"w": "../other/model.safetensors"}}
    write(tmp_path / "model/model.safetensors.index.json", index)
    assert refused(tmp_path / "model").reason == "PATH_ESCAPES"


@pytest.mark.parametrize("name", ["config.json", "modules.json", "1_Pooling/config.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[1]", b"null", b"[" * 100_000])
def test_damaged_json(tmp_path: Path, name: str, content: bytes) -> None:
    teacher(tmp_path)
    write(tmp_path / name, content)
    error = refused(tmp_path)
    assert isinstance(error, InvalidArgument)
    assert error.reason in ("FILE_CORRUPT", "NOT_A_MODEL")


def test_another_kind_and_another_element_type(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    edit_json(tmp_path / "stillroom.json", kind="oracle")
    assert refused(tmp_path).reason == "UNSUPPORTED_KIND"
    edit_json(tmp_path / "stillroom.json", kind="student")
    rows = len(write_tiny(tmp_path))
    add_tensors(tmp_path, embeddings=np.ones((rows, 24)))
    assert refused(tmp_path).reason == "UNSUPPORTED_ELEMENT_TYPE"


F32 = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
BODY = bytes(16)
BROKEN: list[Any] = [
    b"",
    b"\x00" * 4,
    b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n",
    safetensors({"w": F32}, BODY, length=2**62),
    safetensors({"w": F32}, BODY[:-1]),
    safetensors({"w": F32}, BODY + b"x"),
    safetensors(b"[1, 2]", BODY),
    safetensors(b"{not json", BODY),
    safetensors(b"\xff" * 20, BODY),
    safetensors({"w": {**F32, "shape": [2, 3]}}, BODY),
    safetensors({"w": {**F32, "shape": [-2, -2]}}, BODY),
    safetensors({"w": {**F32, "dtype": "F99"}}, BODY),
    safetensors({"w": {**F32, "data_offsets": [0, 2**70]}}, BODY),
    safetensors({"w": {**F32, "data_offsets": [4, 20]}}, BODY + bytes(4)),
    safetensors({"w": {**F32, "data_offsets": "ab"}}, BODY),
    safetensors({"w": {"dtype": "F32"}}, BODY),
    safetensors({"w": F32, "v": F32}, BODY),
    safetensors(b'{"w":%s,"w":%s}' % ((json.dumps(F32).encode(),) * 2), BODY),
    safetensors(b"[" * 100_000, BODY),
]


@pytest.mark.parametrize("content", BROKEN)
def test_corrupt_weights(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "model.safetensors", content)
    with pytest.raises(InvalidArgument) as caught:
        read_header(tmp_path / "model.safetensors")
    assert caught.value.reason == "WEIGHTS_CORRUPT"
    assert caught.value.metadata == {"file": "model.safetensors"}


def test_a_pointer_says_what_to_do(tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors", BROKEN[2])
    with pytest.raises(InvalidArgument, match="git lfs pull"):
        read_header(tmp_path / "model.safetensors")


@pytest.mark.parametrize("make", [teacher, write_tiny])
def test_corrupt_weights_of_models(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    make(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    error = refused(tmp_path)
    assert isinstance(error, InvalidArgument)
    assert error.reason in ("WEIGHTS_CORRUPT", "FILE_CORRUPT")


def test_header_facts(tmp_path: Path) -> None:
    save_file(
        {
            "a": np.ones((2, 3), np.float16),
            "b": np.ones(4, np.float32),
            "ids": np.arange(9),
            "none": np.ones((0, 3), np.float32),
        },
        tmp_path / "w",
    )
    header = read_header(tmp_path / "w")
    assert header["a"].shape == (2, 3)
    assert header["none"].elements == 0
    assert parameters([header]) == 10
    assert main_type([header]) == "float16"
