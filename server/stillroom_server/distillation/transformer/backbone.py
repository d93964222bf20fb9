"""The student's transformer: its teacher's own class, with fewer layers and, if asked, narrower."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation import transformers_encoder
from stillroom_server.distillation.teacher_files import TransformerFiles
from stillroom_server.distillation.transformer.shape import Shape

if TYPE_CHECKING:
    from torch import Tensor

_WIDTH_FIELDS = ("hidden_size", "num_attention_heads", "intermediate_size")


def build_backbone(teacher: Any, shape: Shape) -> Any:
    """A transformers model (float32, CPU) of ``shape`` that begins with the weights of
    ``teacher``.

    A narrower one begins with the leading part of every weight, which is no more than a start.
    Raises FailedPrecondition: UNSUPPORTED_ARCHITECTURE where the architecture cannot be cut to
    ``shape``, TEACHER_NOT_FINITE for damaged weights.
    """
    import torch

    config = reduced_config(teacher.config, shape)
    model_type = str(teacher.config.model_type)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # what no weight of the teacher's fits begins the same every time
            student = type(teacher)(config)
    except (ValueError, TypeError, RuntimeError, AttributeError, KeyError) as error:
        raise FailedPrecondition(
            f"a teacher of type {model_type!r} cannot be cut to {len(shape.layers)} layers"
            f" of width {shape.width}: {error}",
            reason="UNSUPPORTED_ARCHITECTURE",
            field="teacher",
            metadata={"model_type": model_type},
        ) from error
    for part in ("pooler", "decoder"):  # no sentence vector depends on a checkpoint's own pooler
        if getattr(student, part, None) is not None:
            setattr(student, part, None)
    _copy(teacher.state_dict(), student, shape)
    return student.float().eval()  # for good: a student of cached vectors gains nothing by dropout


def load_model(files: TransformerFiles) -> Any:
    """The transformers model in ``files``, float32 on the CPU. Raises what
    ``transformers_encoder.load`` raises."""
    import torch

    encoder = transformers_encoder.load(files, torch.device("cpu"), torch.float32)
    return encoder._model


def reduced_config(config: Any, shape: Shape) -> Any:
    """A copy of the teacher's configuration, with what is stated by layer stated of those kept."""
    reduced = copy.deepcopy(config)
    for name, value in config.to_dict().items():
        if "layer" in name and isinstance(value, list) and len(value) == shape.teacher_layers:
            setattr(reduced, name, [value[index] for index in shape.layers])
    reduced.num_hidden_layers = len(shape.layers)
    if shape.narrowed:
        sizes = (shape.width, shape.heads, shape.inner)
        for name, size in zip(_WIDTH_FIELDS, sizes, strict=True):
            if size is not None:
                setattr(reduced, name, size)
        if getattr(reduced, "head_dim", None):
            reduced.head_dim = shape.width // shape.heads
        groups = getattr(reduced, "num_key_value_heads", None)
        if groups:
            reduced.num_key_value_heads = max(
                count for count in range(1, int(groups) + 1) if shape.heads % count == 0
            )
    return reduced


def _copy(weights: Mapping[str, Tensor], student: Any, shape: Shape) -> None:
    import torch

    stack = _layer_stack(student, len(shape.layers))
    found: dict[str, Tensor] = {}
    for name, value in student.state_dict().items():
        source = weights.get(_name_in_teacher(name, stack, shape))
        if source is None:  # as with the one layer of T5 that holds the positions of all
            source = weights.get(name)
        if source is not None and source.dim() == value.dim():
            cut = tuple(slice(0, size) for size in value.shape)
            if source[cut].shape == value.shape:
                found[name] = source[cut].clone()
    student.load_state_dict(found, strict=False)
    named = dict(student.named_parameters())
    lost = sorted(set(named) - set(found))
    with torch.no_grad():
        bad = [name for name, value in named.items() if not bool(torch.isfinite(value).all())]
    if bad or lost:
        raise FailedPrecondition(
            f"the teacher's weights do not give a start: {', '.join((bad or lost)[:3])}"
            f" {'is not finite' if bad else 'has no counterpart'}",
            reason="TEACHER_NOT_FINITE" if bad else "UNSUPPORTED_ARCHITECTURE",
            field="teacher",
        )


def _layer_stack(model: Any, count: int) -> str:
    """The path of the list of layers. Empty where one layer is run several times over."""
    import torch

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return f"{name}."
    return ""


def _name_in_teacher(name: str, stack: str, shape: Shape) -> str:
    match = re.match(re.escape(stack) + r"(\d+)\.", name) if stack else None
    if match is None:
        return name
    return f"{stack}{shape.layers[int(match[1])]}.{name[match.end() :]}"
