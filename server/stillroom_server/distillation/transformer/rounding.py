"""Weights as a stored type can hold them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.transformer.network import StudentNetwork

_LARGEST_INT8 = 127.0


def rounded(network: StudentNetwork, element_type: str) -> StudentNetwork:
    """A copy that computes in float32 with weights that ``element_type`` holds exactly.

    float16: every weight. int8: the matrices and tables, with a scale for each output or row; the
    rest, a thousandth of the weights, stays as it is. Raises FailedPrecondition
    (WEIGHTS_OVERFLOW) for weights beyond float16's range.
    """
    result = copy.deepcopy(network)
    if element_type == "float32":
        return result
    with torch.no_grad():
        if element_type == "float16":
            for value in result.parameters():
                value.copy_(_half(value))
        else:
            for module in result.modules():
                if isinstance(module, nn.Linear | nn.Embedding):
                    module.weight.copy_(_int8(module.weight))
    return result


def _half(value: Tensor) -> Tensor:
    cast = value.half()
    if not bool(torch.isfinite(cast).all()):
        raise FailedPrecondition(
            "a weight of the student is beyond the range of float16; store it as float32",
            reason="WEIGHTS_OVERFLOW",
            field="transformer.element_type",
        )
    return cast.float()


def _int8(value: Tensor) -> Tensor:
    """Rows on a grid of 255 steps between plus and minus their largest element."""
    scale = value.abs().amax(1, keepdim=True) / _LARGEST_INT8
    steps = (value / scale.clamp(min=torch.finfo(torch.float32).tiny)).round()
    return steps * scale
