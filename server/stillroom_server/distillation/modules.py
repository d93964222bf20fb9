"""The modules that sentence-transformers puts behind a transformer, from modules.json.

Only the types named here load; anything else could be code of the folder's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.pooling import modes_of
from stillroom_server.distillation.teacher_files import (
    corrupt,
    find_weights,
    inside,
    not_a_model,
    read_json,
    read_optional_object,
    read_transformer_settings,
)

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Step = Callable[[Tensor], Tensor]

_PACKAGE = "sentence_transformers"
_PLACES = {
    "Transformer": "base.modules.transformer",
    "Pooling": "sentence_transformer.modules.pooling",
    "Dense": "base.modules.dense",
    "Normalize": "base.modules.normalize",
    "LayerNorm": "sentence_transformer.modules.layer_norm",
    "Dropout": "sentence_transformer.modules.dropout",
}
# As written up to 5.3 (models.Dense), by 5.x in files of their own (models.Dense.Dense), and since.
_TYPES = {
    f"{_PACKAGE}.{place}.{kind}": kind
    for kind, now in _PLACES.items()
    for place in ("models", f"models.{kind}", now)
}
_SENTENCE = "sentence_embedding"
_ACTIVATIONS = (
    *("Identity", "Tanh", "ReLU", "ReLU6", "GELU", "SiLU", "Sigmoid", "LeakyReLU", "ELU", "CELU"),
    *("SELU", "Mish", "Softplus", "Softsign", "Hardtanh", "Hardswish", "Hardsigmoid"),
)


@dataclass(frozen=True)
class Module:
    """One module behind the pooling: what it is, its folder and its config.json."""

    kind: str
    folder: Path
    config: Mapping[str, Any]


@dataclass(frozen=True)
class ModuleFiles:
    """A teacher's pipeline. ``transformer`` is the transformer's folder, ``pooling`` the modes that
    are concatenated, ``include_prompt`` whether a prompt's tokens are pooled, ``after`` what
    follows."""

    transformer: Path
    pooling: tuple[str, ...] = ("mean",)
    include_prompt: bool = True
    after: tuple[Module, ...] = ()


def read_modules(folder: Path) -> ModuleFiles:
    """Reads modules.json; without one, a plain transformer under mean pooling, as
    sentence-transformers does.

    Raises FailedPrecondition(UNSUPPORTED_MODULE) naming the first type that is not known.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return ModuleFiles(folder)
    listed = read_json(path)
    try:
        found = [(str(item["type"]), str(item["path"])) for item in listed]
    except (TypeError, KeyError) as error:
        raise corrupt(path, f"it lists no modules: {error}") from error
    modules = [_read_module(folder, name, place) for name, place in found]
    kinds = [module.kind for module in modules]
    if not kinds or kinds[0] != "Transformer" or "Transformer" in kinds[1:]:
        raise not_a_model(folder, "its modules.json does not begin with one transformer")
    if kinds[1:2] != ["Pooling"] or "Pooling" in kinds[2:]:
        raise _unsupported(kinds[1] if len(kinds) > 1 else "no pooling", "right after Transformer")
    pooling = modules[1].config
    return ModuleFiles(
        transformer=modules[0].folder,
        pooling=modes_of(pooling),
        include_prompt=bool(pooling.get("include_prompt", True)),
        after=tuple(module for module in modules[2:] if module.kind != "Dropout"),
    )


def build_step(module: Module, device: torch.device) -> Step:
    """The function of one module on (n, d) float32. Raises FailedPrecondition for a configuration
    that is not known, DataLoss for weights that do not fit it."""
    if module.kind == "Normalize":
        from torch.nn.functional import normalize

        return lambda x: normalize(x, p=2.0, dim=-1)
    return _layer_norm(module, device) if module.kind == "LayerNorm" else _dense(module, device)


def _read_module(folder: Path, name: str, place: str) -> Module:
    kind = _TYPES.get(name)
    if kind is None:
        raise _unsupported(name, "of a teacher")
    at = inside(folder, place)
    if kind == "Transformer":
        if "message" in (read_transformer_settings(at).get("modality_config") or ()):
            raise _unsupported("Transformer behind a chat template", "of a teacher")
        return Module(kind, at, {})
    config = read_optional_object(at / "config.json")
    keys = [config.get(key) or _SENTENCE for key in ("module_input_name", "module_output_name")]
    if keys != [_SENTENCE, _SENTENCE]:
        raise _unsupported(f"{name} on {keys[0]}", "of a sentence-embedding teacher")
    return Module(kind, at, config)


def _unsupported(what: str, where: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"cannot use {what!r} as a module {where}; supported: a Transformer, then Pooling, then"
        " Dense, Normalize, LayerNorm or Dropout, all as sentence-transformers defines them",
        reason="UNSUPPORTED_MODULE",
        field="teacher",
        metadata={"module": what},
    )


def _tensors(module: Module, device: torch.device) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    (path,) = find_weights(module.folder)
    return {name: tensor.float().to(device) for name, tensor in load_file(path).items()}


def _layer_norm(module: Module, device: torch.device) -> Step:
    from torch.nn.functional import layer_norm

    weights = _tensors(module, device)
    weight, bias = _take(module, weights, "norm.weight"), _take(module, weights, "norm.bias")
    return lambda x: layer_norm(x, (x.shape[-1],), weight, bias)


def _dense(module: Module, device: torch.device) -> Step:
    import torch

    weights = _tensors(module, device)
    weight, bias = _take(module, weights, "linear.weight"), weights.get("linear.bias")
    residual = weights.get("residual.weight") if module.config.get("use_residual") else None
    adds_input = bool(module.config.get("use_residual"))
    activation = _activation(str(module.config.get("activation_function", "torch.nn.Tanh")))

    def step(x: Tensor) -> Tensor:
        out = activation(torch.nn.functional.linear(x, weight, bias))
        if not adds_input:
            return out
        return out + (x if residual is None else torch.nn.functional.linear(x, residual))

    return step


def _activation(path: str) -> Step:
    """An activation of torch.nn by its dotted name; classes without arguments only."""
    import torch

    name = path.rpartition(".")[2]
    if not path.startswith("torch.nn.") or name not in _ACTIVATIONS:
        raise _unsupported(f"Dense with the activation {path}", "of a teacher")
    step: Step = getattr(torch.nn, name)()
    return step


def _take(module: Module, weights: Mapping[str, Tensor], name: str) -> Tensor:
    try:
        return weights[name]
    except KeyError:
        raise corrupt(module.folder / "model.safetensors", f"it has no {name}") from None
