"""onnx/classifier.onnx: from token ids to probabilities in one file of standard operators.

What the student's own graph gives goes on, for vectors v (b, d) and runs of n tokens::

    logits = layers(normalized(v[:, :dimensions])) + bag
    bag    = sum(rows[found], axis=1) / sqrt(max(count(found > 0), 1))
    found  = slots[hash % S] where prints[hash % S] == print and the run is whole    (b, runs)

and probabilities are the softmax, or the logistic function, of logits / temperature. Hashes are
products modulo 2**31 - 1 in int64, as in ``inference.classifier.ngrams``. Cutting a text to its
most tokens and putting a prompt before it is up to the caller, as it is with a student's graph.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stillroom_server.distillation.export.onnx_graph import INLINE_LIMIT, IR_VERSION, OPSET
from stillroom_server.distillation.export.onnx_graph import ONNX_FILE as STUDENT_FILE
from stillroom_server.distillation.export.onnx_graph import build as build_student
from stillroom_server.distillation.export.reference import StudentArrays
from stillroom_server.inference.classifier.files import ClassifierFiles, EncoderKind
from stillroom_server.inference.classifier.head import NgramArrays, Task
from stillroom_server.inference.classifier.run_hashes import MODULUS, MULTIPLIERS

if TYPE_CHECKING:
    from onnx import ModelProto

CLASSIFIER_FILE = "onnx/classifier.onnx"
HEAD_FILE = "onnx/head.onnx"
OUTPUT = "probabilities"
VECTORS = "sentence_embedding"
INPUTS = ("input_ids", "attention_mask")
_NORM_FLOOR = 1e-12
_END = np.iinfo(np.int64).max


def export_onnx(folder: Path, *, inline_limit: int = INLINE_LIMIT) -> Path:
    """Writes the ONNX file of the classifier in ``folder`` and returns its path.

    On a student it takes ``input_ids`` and ``attention_mask``, int64 (batch, sequence), on a
    teacher ``sentence_embedding``, float32 (batch, d); it gives ``probabilities`` float32
    (batch, K). Beyond 1.9 GB the weights lie in a file beside it. Raises what
    ``ClassifierFiles.load`` and ``StudentArrays.read`` raise.
    """
    import onnx

    files = ClassifierFiles.load(folder)
    model = build(files)
    path = folder / (HEAD_FILE if files.encoder is EncoderKind.TEACHER else CLASSIFIER_FILE)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name(path.name + "_data")
    data.unlink(missing_ok=True)  # onnx would append to it
    if _stored_bytes(files) > inline_limit:
        onnx.save_model(
            model, str(path), save_as_external_data=True, location=data.name, size_threshold=1 << 20
        )
        onnx.checker.check_model(str(path), full_check=True)
    else:
        content = model.SerializeToString(deterministic=True)
        onnx.checker.check_model(content)
        path.write_bytes(content)
    return path


def _stored_bytes(files: ClassifierFiles) -> int:
    """About what the graph takes: the weights of encoder and head as they are stored."""
    parts = [*files.folder.glob("*.safetensors")]
    if files.encoder is EncoderKind.TRANSFORMER:
        parts = [*files.folder.glob("classifier.safetensors"), *files.folder.glob("onnx/model.*")]
    return sum(part.stat().st_size for part in parts)


def build(files: ClassifierFiles) -> ModelProto:
    """The graph of a classifier; the same files give the same bytes."""
    from onnx import TensorProto, helper

    encoding = files.description.encoding
    if files.encoder is EncoderKind.TEACHER:
        model, vectors = _without_encoder(files.description.dimensions), VECTORS
        graph = _Graph(model)
    else:
        model = _encoder(files)
        del model.graph.output[:]
        graph = _Graph(model)
        cut = graph.columns(VECTORS, 0, files.description.dimensions)
        vectors = graph.normalized(cut) if encoding.normalize is not False else cut
    logits = graph.layers(vectors, files.head.layers)
    if files.head.ngrams is not None:
        logits = graph.add("Add", logits, graph.bag(files.head.ngrams))
    scale = graph.constant(np.float32(1 / files.description.temperature))
    scaled = graph.add("Mul", logits, scale)
    if files.description.task is Task.MULTI_LABEL:
        graph.add("Sigmoid", scaled, output=OUTPUT)
    else:
        graph.add("Softmax", scaled, output=OUTPUT, axis=1)
    shape: list[str | int | None] = ["batch", len(files.description.labels)]
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape))
    model.graph.name = "classifier"
    props = {prop.key: prop.value for prop in model.metadata_props}
    del model.metadata_props[:]
    helper.set_model_props(
        model,
        {
            **props,
            "normalize": str(encoding.normalize is not False).lower(),
            "max_tokens": str(files.description.max_tokens),
            "task": files.description.task.name.lower(),
        },
    )
    return model


def _encoder(files: ClassifierFiles) -> ModelProto:
    """The student's graph, its vectors as long as they come."""
    import onnx

    if files.encoder is EncoderKind.TRANSFORMER:
        return onnx.load(str(files.folder / STUDENT_FILE))
    student = StudentArrays.read(files.folder)
    table = np.ascontiguousarray(student.table[:, : files.description.dimensions])
    return build_student(replace(student, table=table, normalize=False))


def _without_encoder(dimensions: int) -> ModelProto:
    from onnx import TensorProto, helper

    given = helper.make_tensor_value_info(VECTORS, TensorProto.FLOAT, ["batch", dimensions])
    graph = helper.make_graph([], "classifier", [given], [])
    return helper.make_model(
        graph,
        producer_name="stillroom",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


class _Graph:
    """Adds to a graph; names are numbered behind a prefix of their own."""

    def __init__(self, model: ModelProto) -> None:
        self._graph = model.graph
        self._count = 0

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        from onnx import numpy_helper

        name = self._name("constant")
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = output or self._name(operator.lower())
        node = helper.make_node(operator, list(inputs), [name], name=name, **attributes)
        self._graph.node.append(node)
        return name

    def columns(self, matrix: str, start: int, end: int) -> str:
        ends = (self.constant(np.array([place], np.int64)) for place in (start, end, 1))
        return self.add("Slice", matrix, *ends)

    def normalized(self, vectors: str) -> str:
        axis = self.constant(np.array([1], np.int64))
        squares = self.add("Mul", vectors, vectors)
        norm = self.add("Sqrt", self.add("ReduceSum", squares, axis, keepdims=1))
        floor = self.constant(np.float32(_NORM_FLOOR))
        return self.add("Div", vectors, self.add("Max", norm, floor))

    def layers(
        self, vectors: str, layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    ) -> str:
        for i, (weights, bias) in enumerate(layers):
            product = self.add("MatMul", vectors, self.constant(np.ascontiguousarray(weights)))
            vectors = self.add("Add", product, self.constant(bias))
            if i < len(layers) - 1:
                vectors = self.add("Relu", vectors)
        return vectors

    def bag(self, ngrams: NgramArrays) -> str:
        """The scaled sums (b, K) of the rows of each text's counted runs."""
        found = self._found(ngrams)
        zero = self.constant(np.int64(0))
        one = self.constant(np.float32(1))
        axis = self.constant(np.array([1], np.int64))
        counted = self.add("Cast", self.add("Greater", found, zero), to=1)  # FLOAT
        rows = self.add("Gather", self.constant(ngrams.rows), found, axis=0)
        total = self.add("MatMul", self.add("Unsqueeze", counted, axis), rows)
        total = self.add("Squeeze", total, axis)
        count = self.add("ReduceSum", counted, axis, keepdims=1)
        return self.add("Div", total, self.add("Sqrt", self.add("Max", count, one)))

    def _found(self, ngrams: NgramArrays) -> str:
        """The row of every run of every length (b, runs), 0 where none counts."""
        one, zero = self.constant(np.int64(1)), self.constant(np.int64(0))
        modulus = self.constant(np.int64(MODULUS))
        size = self.constant(np.int64(len(ngrams.slots)))
        # Widened behind the gather, so that the file stays as small as the stored type.
        slots, prints = self.constant(ngrams.slots), self.constant(ngrams.prints)
        multipliers = [self.constant(np.int64(m)) for m in MULTIPLIERS]
        ids, mask = INPUTS
        present = whole = self.add("Cast", mask, to=9)  # BOOL
        values = self.add("Add", self.add("Where", present, ids, zero), one)
        hashes, found = [values, values], []
        for n in range(1, ngrams.max_n + 1):
            if n > 1:
                last = self.columns(values, n - 1, _END)
                hashes = [
                    self.add(
                        "Mod",
                        self.add("Add", self.add("Mul", self.columns(h, 0, -1), by), last),
                        modulus,
                    )
                    for h, by in zip(hashes, multipliers, strict=True)
                ]
                tail = self.columns(present, n - 1, _END)
                whole = self.add("And", self.columns(whole, 0, -1), tail)
            if n >= ngrams.min_n:
                slot = self.add("Mod", hashes[0], size)
                mark = self.add("Cast", self.add("Gather", prints, slot, axis=0), to=7)  # INT64
                same = self.add("Equal", mark, hashes[1])
                row = self.add("Cast", self.add("Gather", slots, slot, axis=0), to=7)
                found.append(self.add("Where", self.add("And", same, whole), row, zero))
        return found[0] if len(found) == 1 else self.add("Concat", *found, axis=1)

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"classifier/{kind}_{self._count}"
