"""onnx/model.onnx of a transformer student: standard operators, any runtime.

``input_ids`` and ``attention_mask`` int64 (batch, sequence), padding to the right, give
``sentence_embedding`` float32 (batch, d), after every module of the student. Weights are stored in
the chosen type and widened by Cast (and Mul by a scale) in the graph: runtimes fold that when they
load the file, so it costs bytes of memory and no time, and needs no operator of one vendor.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_server.distillation.export.onnx_graph import INLINE_LIMIT, IR_VERSION, OPSET

if TYPE_CHECKING:
    from onnx import ModelProto

    from stillroom_server.distillation.transformer.network import StudentNetwork

_INPUTS = ("input_ids", "attention_mask")
_OUTPUT = "sentence_embedding"


def build(network: StudentNetwork) -> ModelProto:
    """The float32 graph; the same weights give the same bytes."""
    import onnx
    import torch

    traced = copy.deepcopy(network).eval()
    with_plain_attention(traced.backbone)
    ids = torch.arange(3 * 7).reshape(3, 7) % int(traced.backbone.config.vocab_size)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    dynamic = {name: {0: "batch", 1: "sequence"} for name in _INPUTS}
    stream: Any = io.BytesIO()  # as good as a path, the annotation forgets
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            traced,
            (ids, mask),
            stream,
            input_names=list(_INPUTS),
            output_names=[_OUTPUT],
            dynamic_axes={**dynamic, _OUTPUT: {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,  # the other exporter needs a package more, and a newer opset
        )
    model = onnx.load_model_from_string(stream.getvalue())
    model.producer_name, model.producer_version = "stillroom", ""
    model.ir_version = IR_VERSION
    model.doc_string = model.graph.doc_string = ""
    model.graph.name = "transformer_student"
    for node in model.graph.node:
        node.doc_string = ""
    return model


def with_plain_attention(backbone: Any) -> None:
    """Attention written out as products and a softmax, which every runtime has."""
    if getattr(backbone.config, "_attn_implementation", "eager") != "eager":
        backbone.set_attn_implementation("eager")


def write(model: ModelProto, path: Path, *, inline_limit: int = INLINE_LIMIT) -> None:
    """Writes a checked model; beyond 2 GB with its weights in ``model.onnx_data``."""
    import onnx

    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name("model.onnx_data")
    data.unlink(missing_ok=True)
    if model.ByteSize() > inline_limit:
        onnx.save_model(
            model, str(path), save_as_external_data=True, location=data.name, size_threshold=1 << 20
        )
        onnx.checker.check_model(str(path), full_check=True)
        return
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own age, and of constants that are meant to be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
