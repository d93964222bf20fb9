"""Folders of transformer students that are damaged, hostile, or contradict themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.students import wordpiece, write_student
from inference.transformers import TYPES, with_special_tokens, write_transformer
from stillroom_registry.errors import DataLoss, InvalidArgument
from stillroom_server.inference.embedders import load_embedder
from stillroom_server.inference.transformer.files import TransformerFiles, is_transformer_student


def refusal(folder: Path, blame: type[DataLoss | InvalidArgument] = DataLoss) -> Any:
    with pytest.raises(blame) as caught:
        load_embedder(folder, blame=blame)
    return caught.value


def test_recognition(tmp_path: Path) -> None:
    assert is_transformer_student(write_transformer(tmp_path / "a"))
    assert not is_transformer_student(write_student(tmp_path / "b"))
    static = [{"type": TYPES + "StaticEmbedding", "path": ""}]
    assert not is_transformer_student(
        write_transformer(tmp_path / "c", files={"modules.json": static})
    )
    for content in (b"[", b"[]", b"[1]", b"\xff", b'{"type": 1}'):
        (tmp_path / "c" / "modules.json").write_bytes(content)
        assert not is_transformer_student(tmp_path / "c")
    assert not is_transformer_student(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("how", "reason", "text"),
    [
        ({"mask": "mask"}, "ONNX_FILE_INVALID", "its inputs are"),
        ({"output": "vectors"}, "ONNX_FILE_INVALID", "no output sentence_embedding"),
        ({"rows": 9}, "ONNX_FILE_INVALID", "does not run on"),
        ({"files": {"config.json": {"hidden_size": 17}}}, "ONNX_FILE_INVALID", "16 dimensions"),
        (
            {"files": {"sentence_bert_config.json": {"max_seq_length": 99}}},
            "ONNX_FILE_INVALID",
            "texts of 99 tokens",
        ),
        (
            {"files": {"sentence_bert_config.json": {"max_seq_length": 2}}},
            "TOKENIZER_INVALID",
            "special tokens alone",
        ),
        ({"external": "../../secret"}, "ONNX_FILE_INVALID", "escapes"),
        ({"external": "/etc/passwd"}, "ONNX_FILE_INVALID", "Absolute path"),
        ({"external": "link"}, "ONNX_FILE_INVALID", "escapes"),
        ({"files": {"tokenizer.json": {"model": 1}}}, "TOKENIZER_INVALID", "tokenizer.json"),
        ({"files": {"config.json": None}}, "FILE_MISSING", "config.json"),
        (
            {"files": {"config_sentence_transformers.json": {"prompts": [1]}}},
            "CONFIG_INVALID",
            "prompts",
        ),
    ],
)
def test_a_folder_at_fault_is_refused(
    tmp_path: Path, how: dict[str, Any], reason: str, text: str
) -> None:
    (tmp_path / "secret").write_bytes(bytes(1 << 16))
    folder = tmp_path / "s"
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "link").symlink_to(tmp_path / "secret")
    write_transformer(folder, **how)
    for blame in (DataLoss, InvalidArgument):
        error = refusal(folder, blame)
        assert error.reason == reason
        assert text in error.message
        assert error.metadata["file"] in error.message


def test_graph_files_at_fault(tmp_path: Path) -> None:
    folder = write_transformer(tmp_path)
    graph = folder / "onnx" / "model.onnx"
    content = graph.read_bytes()
    graph.write_bytes(content[: len(content) // 2])
    assert refusal(folder).reason == "ONNX_FILE_INVALID"
    graph.unlink()
    assert refusal(folder).reason == "FILE_MISSING"
    assert refusal(folder).metadata == {"file": "onnx/model.onnx"}


def test_values_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    from onnx import load_from_string, numpy_helper

    folder = write_transformer(tmp_path)
    graph = folder / "onnx" / "model.onnx"
    model = load_from_string(graph.read_bytes())
    places = next(tensor for tensor in model.graph.initializer if tensor.name == "places")
    broken = numpy_helper.to_array(places).copy()
    broken[0, 0] = np.nan
    places.CopyFrom(numpy_helper.from_array(broken, "places"))
    graph.write_bytes(model.SerializeToString())
    assert "NaN" in refusal(folder).message


def test_external_data_beside_the_graph_are_read(tmp_path: Path) -> None:
    folder = write_transformer(tmp_path, external="model.onnx_data")
    table = np.load(folder / "naive.npz")["table"]
    (folder / "onnx" / "model.onnx_data").write_bytes(table.tobytes())
    embedder = load_embedder(folder)
    assert embedder.embed(["the card"]).vectors.any()
    assert embedder.info.memory_bytes > table.nbytes


@pytest.mark.parametrize(
    ("settings", "declared", "config", "expected"),
    [
        (30, 99, {"max_position_embeddings": 50}, 30),
        (None, 35, {"max_position_embeddings": 50}, 35),
        (None, 1e30, {"max_position_embeddings": 50}, 50),
        (600, None, {"max_position_embeddings": 514, "model_type": "roberta"}, 512),
        (None, None, {}, 512),
    ],
)
def test_the_limit_is_that_of_sentence_transformers(
    tmp_path: Path, settings: Any, declared: Any, config: dict[str, Any], expected: int
) -> None:
    files = {
        "config.json": {"pad_token_id": 1, **config},
        "sentence_bert_config.json": {"max_seq_length": settings},
        "tokenizer_config.json": {"model_max_length": declared},
    }
    found = TransformerFiles.load(write_transformer(tmp_path, files=files))
    assert (found.max_tokens, found.pad_id) == (expected, 1)


def test_lower_case_is_applied(tmp_path: Path) -> None:
    settings = {"max_seq_length": 40, "do_lower_case": True}
    folder = write_transformer(tmp_path, files={"sentence_bert_config.json": settings})
    spec = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(spec.replace('"lowercase": true', '"lowercase": false'))
    embedder = load_embedder(folder)
    both = embedder.embed(["THE CARD", "the card"])
    assert both.tokens.tolist() == [4, 4]
    np.testing.assert_array_equal(*both.vectors)


@pytest.mark.parametrize("place", ["../x", "/etc"])
def test_modules_lie_inside(tmp_path: Path, place: str) -> None:
    modules = [{"type": TYPES + "Transformer", "path": place}]
    folder = write_transformer(tmp_path, files={"modules.json": modules})
    with pytest.raises(DataLoss, match="outside the folder"):
        TransformerFiles.load(folder)


def test_a_tokenizer_that_does_more_than_surround_a_text_is_refused(tmp_path: Path) -> None:
    spec = json.loads(with_special_tokens())
    single = spec["post_processor"]["single"]
    spec["post_processor"]["single"] = [*single[:2], *single[1:]]
    error = refusal(write_transformer(tmp_path, files={"tokenizer.json": spec}))
    assert error.reason == "TOKENIZER_INVALID"
    assert "more than put tokens around" in error.message


def test_no_special_tokens_at_all(tmp_path: Path) -> None:
    spec = json.loads(wordpiece())
    folder = write_transformer(tmp_path, rows=200, files={"tokenizer.json": spec})
    result = load_embedder(folder).embed(["", "the card"])
    assert result.tokens.tolist() == [0, 2]
    assert not result.vectors[0].any()
    assert result.vectors[1].any()
