"""The weights of a transformer's graph in fewer bytes, by standard operators."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto

# Smaller tensors stay float32: biases, norms, and what is not worth a node.
_SMALLEST = 4_096
_LARGEST_INT8 = 127.0
_FLOAT = 1


def store(model: ModelProto, element_type: str) -> ModelProto:
    """The same graph with its matrices and tables stored as ``element_type``.

    A matrix is widened before its product, a table only in the rows that were looked up. int8 has
    a scale for each output of a matrix and each row of a table. The weights must be such as
    ``rounding.rounded`` gives; others are rounded here.
    """
    result = copy.deepcopy(model)
    if element_type == "float32":
        return result
    graph = result.graph
    uses: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            uses.setdefault(name, []).append(node)
    widening: list[Any] = []
    for tensor in list(graph.initializer):
        if tensor.data_type != _FLOAT or np.prod(tensor.dims) < _SMALLEST or len(tensor.dims) != 2:
            continue
        axis = _reduced_axis(tensor.name, uses.get(tensor.name, ()))
        if axis is None:
            continue
        graph.initializer.remove(tensor)
        stored = _stored(tensor, element_type, axis)
        graph.initializer.extend(stored.values())
        if uses[tensor.name][0].op_type == "Gather":
            for gather in uses[tensor.name]:
                _widen_rows(graph, gather, stored)
        else:
            widening += _widen(tensor.name, stored)
    nodes = [*widening, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return result


def _reduced_axis(name: str, nodes: Sequence[Any]) -> int | None:
    """The axis along which the weights of one output lie; None for what is no weight."""
    axes = set()
    for node in nodes:
        attributes = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "Gather" and node.input[0] == name and not attributes.get("axis"):
            axes.add((1, "rows"))
        elif node.op_type == "MatMul" and node.input[1] == name:
            axes.add((0, "product"))
        elif node.op_type == "Gemm" and node.input[1] == name:
            axes.add((1 if attributes.get("transB") else 0, "product"))
        else:
            return None
    return axes.pop()[0] if len(axes) == 1 else None


def _stored(tensor: Any, element_type: str, axis: int) -> dict[str, Any]:
    """The initializers that stand for ``tensor``: its values, and for int8 its scales."""
    from onnx import numpy_helper

    value: NDArray[np.float32] = numpy_helper.to_array(tensor)
    if element_type == "float16":
        return {"values": numpy_helper.from_array(value.astype(np.float16), f"{tensor.name}.f16")}
    scale = np.abs(value).max(axis=axis, keepdims=True) / np.float32(_LARGEST_INT8)
    steps = np.rint(value / np.maximum(scale, np.finfo(np.float32).tiny)).astype(np.int8)
    return {
        "values": numpy_helper.from_array(steps, f"{tensor.name}.i8"),
        "scales": numpy_helper.from_array(scale, f"{tensor.name}.scale"),
    }


def _widen(name: str, stored: Mapping[str, Any]) -> list[Any]:
    """Nodes that make the matrix ``name`` of what is stored."""
    from onnx import helper

    values = stored["values"].name
    if "scales" not in stored:
        return [helper.make_node("Cast", [values], [name], name=f"{name}.wide", to=_FLOAT)]
    wide = f"{name}.wide"
    return [
        helper.make_node("Cast", [values], [wide], name=wide, to=_FLOAT),
        helper.make_node("Mul", [wide, stored["scales"].name], [name], name=f"{name}.scaled"),
    ]


def _widen_rows(graph: Any, gather: Any, stored: Mapping[str, Any]) -> None:
    """Makes ``gather`` look rows up in what is stored, and widens those."""
    from onnx import helper

    output, ids = gather.output[0], gather.input[1]
    gather.input[0], gather.output[0] = stored["values"].name, f"{output}.stored"
    wide = output if "scales" not in stored else f"{output}.wide"
    added = [helper.make_node("Cast", [gather.output[0]], [wide], name=f"{output}.cast", to=_FLOAT)]
    if "scales" in stored:
        scale = f"{output}.scale"
        added += [
            helper.make_node("Gather", [stored["scales"].name, ids], [scale], name=scale, axis=0),
            helper.make_node("Mul", [wide, scale], [output], name=f"{output}.scaled"),
        ]
    at = list(graph.node).index(gather) + 1
    for offset, node in enumerate(added):
        graph.node.insert(at + offset, node)
