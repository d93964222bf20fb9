"""A small encoder in the layout of sentence-transformers, and what it computes, in numpy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, processors

from inference.students import wordpiece

POSITIONS = 40
TYPES = "sentence_transformers.models."


def with_special_tokens(tokenizer_json: str | None = None) -> str:
    """The tokenizer of the static students with [CLS] and [SEP] around each text, and a habit of
    cutting and padding that must not matter."""
    tokenizer = Tokenizer.from_str(tokenizer_json or wordpiece())
    tokenizer.add_special_tokens(["[CLS]", "[SEP]"])
    ids = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=ids
    )
    tokenizer.enable_truncation(9)
    tokenizer.enable_padding(length=20, pad_id=0)
    return str(tokenizer.to_str())


def write_transformer(
    folder: Path,
    *,
    dimensions: int = 16,
    normalize: bool = True,
    seed: int = 0,
    files: Mapping[str, Any] | None = None,
    **graph: Any,
) -> Path:
    """Write a student and return its folder; ``files`` replaces JSON by name, None drops it."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer_json = with_special_tokens()
    rows = Tokenizer.from_str(tokenizer_json).get_vocab_size()
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((graph.pop("rows", rows), dimensions)).astype(np.float32)
    places = rng.standard_normal((POSITIONS, dimensions)).astype(np.float32)
    np.savez(folder / "naive.npz", table=table, places=places, normalize=normalize)
    (folder / "onnx").mkdir(exist_ok=True)
    content = encoder(table, places, normalize=normalize, **graph)
    (folder / "onnx" / "model.onnx").write_bytes(content)
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    listed = [
        {"idx": at, "name": str(at), "path": f"{at}_{kind}" if at else "", "type": TYPES + kind}
        for at, kind in enumerate(kinds)
    ]
    contents: dict[str, Any] = {
        "modules.json": listed,
        "config.json": {"model_type": "bert", "hidden_size": dimensions, "pad_token_id": 0},
        "sentence_bert_config.json": {"max_seq_length": POSITIONS},
        "config_sentence_transformers.json": {"prompts": {"query": "please help me: "}},
        "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
        "tokenizer.json": json.loads(tokenizer_json),
        **(files or {}),
    }
    for name, value in contents.items():
        if value is not None:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return folder


def naive(
    folder: Path,
    text: str,
    *,
    max_tokens: int = POSITIONS,
    left: bool = False,
    normalize: bool = True,
    dimensions: int | None = None,
) -> npt.NDArray[np.float64]:
    """The vector of one text, alone and in float64."""
    arrays = np.load(folder / "naive.npz")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    own = tokenizer.encode(text, add_special_tokens=False).ids
    room = max_tokens - 2
    kept = own[max(0, len(own) - room) :] if left else own[:room]
    ids = [tokenizer.token_to_id("[CLS]"), *kept, tokenizer.token_to_id("[SEP]")]
    rows = arrays["table"][ids].astype(np.float64) + arrays["places"][: len(ids)]
    vector = rows.mean(0)
    if arrays["normalize"]:
        vector = vector / np.linalg.norm(vector)
    vector = vector[:dimensions]
    return vector / np.linalg.norm(vector) if normalize else vector


def encoder(
    table: npt.NDArray[np.float32],
    places: npt.NDArray[np.float32],
    *,
    normalize: bool = True,
    batch_dependent: bool = False,
    output: str = "sentence_embedding",
    mask: str = "attention_mask",
    external: str | None = None,
) -> bytes:
    """Mean of rows and their places under the mask. ``batch_dependent``: scaled per element by the
    largest of the whole batch, as dynamic quantization does; ``external``: where the table is."""
    from onnx import TensorProto as T
    from onnx import helper, numpy_helper

    rows = numpy_helper.from_array(table, "table")
    if external is not None:
        rows = T(name="table", data_type=T.FLOAT, dims=table.shape, data_location=T.EXTERNAL)
        for key, value in (("location", external), ("length", str(table.nbytes))):
            rows.external_data.add(key=key, value=value)
    constants = {"zero": np.int64(0), "one": np.int64(1), "axis1": np.array([1], np.int64)}
    constants |= {"axis2": np.array([2], np.int64), "tenth": np.float32(0.1)}
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "input_ids"], ["words"]),
        node("Shape", ["input_ids"], ["shape"]),
        node("Gather", ["shape", "one"], ["length"]),
        node("Range", ["zero", "length", "one"], ["range"]),
        node("Gather", ["places", "range"], ["positions"]),
        node("Add", ["words", "positions"], ["plain"]),
        node("Cast", [mask], ["floats"], to=T.FLOAT),
        node("Unsqueeze", ["floats", "axis2"], ["wide"]),
        node("Mul", ["hidden", "wide"], ["masked"]),
        node("ReduceSum", ["masked", "axis1"], ["sum"], keepdims=0),
        node("ReduceSum", ["wide", "axis1"], ["count"], keepdims=0),
        node("Div", ["sum", "count"], ["mean"]),
        node("LpNormalization" if normalize else "Identity", ["mean"], [output]),
    ]
    peak = [
        node("ReduceMax", ["plain"], ["peak"], axes=[0, 1], keepdims=1),
        node("Mul", ["peak", "tenth"], ["bias"]),
        node("Add", ["plain", "bias"], ["hidden"]),
    ]
    nodes[6:6] = peak if batch_dependent else [node("Identity", ["plain"], ["hidden"])]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info(n, T.INT64, ["b", "s"]) for n in ("input_ids", mask)],
        [helper.make_tensor_value_info(output, T.FLOAT, ["b", table.shape[1]])],
        [
            rows,
            numpy_helper.from_array(places, "places"),
            *(numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()),
        ],
    )
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString())
