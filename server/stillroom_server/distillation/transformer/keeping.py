"""The tensors of a training, to a checkpoint's folder and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from stillroom_server.distillation.transformer.progress import TrainingState
from stillroom_server.distillation.tuning.protocols import Json

_STATE, _TENSORS, _BEST = "state.json", "training.safetensors", "best.safetensors"


def write_checkpoint(
    folder: Path,
    state: TrainingState,
    fingerprint: Json,
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    best: Mapping[str, Tensor],
) -> None:
    """Writes what a training needs to go on as if it had not stopped."""
    tensors = {f"weight.{name}": value.detach() for name, value in parameters.items()}
    for name, value in parameters.items():
        for key, moment in optimizer.state.get(value, {}).items():
            tensors[f"{key}.{name}"] = moment
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / _TENSORS)
    save_file({name: value.contiguous() for name, value in best.items()}, folder / _BEST)
    body = {"state": state.to_json(), "fingerprint": fingerprint}
    (folder / _STATE).write_text(json.dumps(body), encoding="utf-8")


def read_checkpoint(
    folder: Path,
    fingerprint: Json,
    parameters: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> tuple[TrainingState, dict[str, Tensor]] | None:
    """Puts the weights and the optimizer back; gives the state and the best weights. None where
    the checkpoint is of another training."""
    body: dict[str, Any] = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    if body["fingerprint"] != json.loads(json.dumps(fingerprint)):
        return None
    tensors = load_file(folder / _TENSORS)
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(tensors.pop(f"weight.{name}"))
    for key, moment in tensors.items():
        kind, _, name = key.partition(".")
        optimizer.state[parameters[name]][kind] = moment
    return TrainingState.from_json(body["state"]), load_file(folder / _BEST)
