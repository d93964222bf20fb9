"""Folders that are no teacher, or none to be trusted."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stillroom_registry.errors import (
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    StillroomError,
)
from stillroom_server.distillation.teacher import Teacher


def change(path: Path, **changes: object) -> None:
    value = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**value, **changes}))


def modules(folder: Path, *more: str, path: str = "") -> None:
    names = ["sentence_transformers.models.Transformer", *more]
    listed = [
        {"idx": i, "name": str(i), "path": path if i else "", "type": name}
        for i, name in enumerate(names)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))


def pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def header_lies(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + path.read_bytes()[8:])


def gap_between_tensors(folder: Path) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}).encode()
    data = struct.pack("<Q", len(header)) + header + bytes(8)
    (folder / "model.safetensors").write_bytes(data)


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def broken_tokenizer(folder: Path) -> None:
    change(folder / "tokenizer.json", model={"type": "WordPiece", "vocab": "none"})


def layers_missing(folder: Path) -> None:
    change(folder / "config.json", num_hidden_layers=3)


def heads_that_do_not_divide(folder: Path) -> None:
    change(folder / "config.json", num_attention_heads=5)


def unknown_architecture(folder: Path) -> None:
    change(folder / "config.json", model_type="no-such-architecture")


def own_code(folder: Path) -> None:
    unknown_architecture(folder)
    change(folder / "config.json", auto_map={"AutoModel": "modeling.Own"})
    (folder / "modeling.py").write_text("raise SystemExit('this ran')")


def own_code_under_a_known_name(folder: Path) -> None:
    change(folder / "config.json", auto_map={"AutoModel": "modeling.Own"}, num_hidden_layers=3)
    (folder / "modeling.py").write_text("raise SystemExit('this ran')")


def larger_tokenizer(folder: Path) -> None:
    value = json.loads((folder / "tokenizer.json").read_text())
    value["model"]["vocab"]["zymurgy"] = 5000
    (folder / "tokenizer.json").write_text(json.dumps(value))


def smaller_table(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    words = "embeddings.word_embeddings.weight"
    save_file({**weights, words: weights[words][:100].contiguous()}, path, {"format": "pt"})
    change(folder / "config.json", vocab_size=100)


def weights_that_are_no_numbers(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    weights["encoder.layer.1.output.dense.weight"][3, 5] = float("nan")
    save_file(weights, path, {"format": "pt"})


def chat_template(folder: Path) -> None:
    modules(folder, "sentence_transformers.models.Pooling", path="1_Pooling")
    change(folder / "sentence_bert_config.json", modality_config={"message": {"format": "flat"}})


def own_module(folder: Path) -> None:
    modules(folder, "sentence_transformers.models.Pooling", "own.code.Module")


def os_module(folder: Path) -> None:
    modules(folder, "os.system")


def escaping_module(folder: Path) -> None:
    modules(folder, "sentence_transformers.models.Pooling", path="../elsewhere")


def own_activation(folder: Path) -> None:
    pooling, dense = "sentence_transformers.models.Pooling", "sentence_transformers.models.Dense"
    modules(folder, pooling, dense, path="own")
    (folder / "own").mkdir()
    (folder / "own" / "config.json").write_text(
        json.dumps({"activation_function": "torch.hub.load"})
    )
    (folder / "own" / "model.safetensors").write_bytes(_linear(32))


def dense_of_another_width(folder: Path) -> None:
    own_activation(folder)
    change(folder / "own" / "config.json", activation_function="torch.nn.Tanh")
    (folder / "own" / "model.safetensors").write_bytes(_linear(31))


def pickled_dense(folder: Path) -> None:
    own_activation(folder)
    (folder / "own" / "model.safetensors").rename(folder / "own" / "pytorch_model.bin")


def _linear(width: int) -> bytes:
    from safetensors.torch import save

    return save({"linear.weight": torch.zeros(4, width), "linear.bias": torch.zeros(4)})


def unknown_pooling(folder: Path) -> None:
    modules(folder, "sentence_transformers.models.Pooling", path="1_Pooling")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode": "sum"}')


CASES: list[tuple[Callable[[Path], None], type[StillroomError], str]] = [
    (pickle_only, FailedPrecondition, "PICKLE_REFUSED"),
    (pickled_dense, FailedPrecondition, "PICKLE_REFUSED"),
    (cut_short, DataLoss, "FILE_CORRUPT"),
    (header_lies, DataLoss, "FILE_CORRUPT"),
    (gap_between_tensors, DataLoss, "FILE_CORRUPT"),
    (no_tokenizer, FailedPrecondition, "NO_FAST_TOKENIZER"),
    (broken_tokenizer, DataLoss, "FILE_CORRUPT"),
    (layers_missing, DataLoss, "WEIGHTS_INCOMPLETE"),
    (heads_that_do_not_divide, FailedPrecondition, "MODULES_MISMATCH"),
    (unknown_architecture, FailedPrecondition, "UNSUPPORTED_ARCHITECTURE"),
    (own_code, FailedPrecondition, "REMOTE_CODE_REFUSED"),
    (own_code_under_a_known_name, FailedPrecondition, "REMOTE_CODE_REFUSED"),
    (larger_tokenizer, FailedPrecondition, "TOKENIZER_MODEL_MISMATCH"),
    (smaller_table, FailedPrecondition, "TOKENIZER_MODEL_MISMATCH"),
    (weights_that_are_no_numbers, FailedPrecondition, "TEACHER_NOT_FINITE"),
    (chat_template, FailedPrecondition, "UNSUPPORTED_MODULE"),
    (own_module, FailedPrecondition, "UNSUPPORTED_MODULE"),
    (os_module, FailedPrecondition, "UNSUPPORTED_MODULE"),
    (own_activation, FailedPrecondition, "UNSUPPORTED_MODULE"),
    (dense_of_another_width, FailedPrecondition, "MODULES_MISMATCH"),
    (escaping_module, InvalidArgument, "PATH_ESCAPES"),
    (unknown_pooling, InvalidArgument, "UNSUPPORTED_POOLING"),
]


@pytest.mark.parametrize(
    ("spoil", "error", "reason"), CASES, ids=[case[0].__name__ for case in CASES]
)
def test_a_spoiled_teacher(
    bert: Path, spoil: Callable[[Path], None], error: type[StillroomError], reason: str
) -> None:
    spoil(bert)
    with pytest.raises(error) as caught:
        Teacher.load(bert, "cpu", "float32")
    assert (type(caught.value), caught.value.reason) == (error, reason)
    assert caught.value.field == "teacher"


@pytest.mark.parametrize("content", [None, "{}", "[]"])
def test_a_folder_that_is_no_model(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InvalidArgument) as caught:
        Teacher.load(tmp_path)
    assert caught.value.reason == "NOT_A_MODEL"


def test_the_damaged_file_is_named(bert: Path) -> None:
    (bert / "config.json").write_text("{")
    with pytest.raises(DataLoss, match=r"config\.json") as caught:
        Teacher.load(bert)
    assert caught.value.metadata["file"] == "config.json"


def test_a_vocabulary_file_without_tokenizer_json_is_converted(bert: Path) -> None:
    vocabulary = json.loads((bert / "tokenizer.json").read_text())["model"]["vocab"]
    (bert / "tokenizer.json").unlink()
    (bert / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)))
    (bert / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert Teacher.load(bert, "cpu").encode(["the dog"]).shape == (1, 32)


def test_a_pooler_that_is_not_there(bert: Path) -> None:
    path = bert / "model.safetensors"
    weights = {name: w for name, w in load_file(path).items() if "pooler" not in name}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(FailedPrecondition) as caught:
        Teacher.load(bert, "cpu", "float32", pooling="pooler")
    assert (caught.value.reason, caught.value.field) == ("NO_POOLER", "pooling")


def test_a_vocabulary_smaller_than_its_table(bert: Path, tmp_path: Path) -> None:
    """Rows behind the vocabulary, as of tables padded to a round number, are no one's."""
    from stillroom_server.distillation.recipe import distill_static

    expected = Teacher.load(bert, "cpu", "float32").encode(["the dog"])
    path = bert / "model.safetensors"
    weights = load_file(path)
    words = "embeddings.word_embeddings.weight"
    table = weights[words]
    weights[words] = torch.cat([table, torch.full((37, table.shape[1]), float("nan"))])
    save_file(weights, path, {"format": "pt"})
    change(bert / "config.json", vocab_size=len(table) + 37)
    np.testing.assert_array_equal(
        Teacher.load(bert, "cpu", "float32").encode(["the dog"]), expected
    )
    report = distill_static(bert, tmp_path / "student", dtype="float32", verify=False)
    assert report["vocabulary_size"] < len(table)


def test_one_token_that_is_no_number_is_silent_and_spoils_no_other(
    bert: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file as load_arrays
    from tokenizers import Tokenizer

    from stillroom_server.distillation.recipe import distill_static

    path = bert / "model.safetensors"
    weights = load_file(path)
    token = Tokenizer.from_file(str(bert / "tokenizer.json")).token_to_id("the")
    weights["embeddings.word_embeddings.weight"][token] = float("inf")
    save_file(weights, path, {"format": "pt"})
    distill_static(bert, tmp_path / "s", dtype="float32", verify=False)
    table = load_arrays(tmp_path / "s" / "model.safetensors")["embeddings"]
    row = Tokenizer.from_file(str(tmp_path / "s" / "tokenizer.json")).token_to_id("the")
    silent = np.flatnonzero(~table.any(axis=1))
    assert row in silent
    assert len(silent) <= 3
