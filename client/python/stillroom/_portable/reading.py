"""The files of a downloaded classifier, as data: nothing in them is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stillroom.errors import DataLoss

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Float32 = npt.NDArray[np.float32]


def read_tokenizer(path: Path) -> tuple[Tokenizer, int | None]:
    """A tokenizer that adds and cuts nothing, and the id of its unknown token."""
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise _extra("tokenizers") from error
    spec = read_json(path)
    spec.update(post_processor=None, truncation=None, padding=None)
    try:
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        model = spec["model"]
        unknown = model.get("unk_id")
        if unknown is None and model.get("unk_token") is not None:
            unknown = tokenizer.token_to_id(model["unk_token"])
    except Exception as error:  # the Rust side raises bare Exception
        raise DataLoss(f"{path.name} does not load: {error}", reason="FILE_CORRUPT") from error
    return tokenizer, unknown


def read_tensors(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise _extra("safetensors") from error
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataLoss(f"{path.name} cannot be read: {error}", reason="FILE_CORRUPT") from error


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataLoss(f"{path.name} cannot be read: {error}", reason="FILE_CORRUPT") from error
    if not isinstance(content, dict):
        raise DataLoss(f"{path.name} is not a JSON object", reason="FILE_CORRUPT")
    return content


def _extra(package: str) -> ImportError:
    return ImportError(f"{package} is missing: pip install stillroom[portable]", name=package)


def read_layers(tensors: Mapping[str, npt.NDArray[Any]]) -> list[tuple[Float32, Float32]]:
    """Weights (out, in) and bias (out,) of each layer, from the vector's side."""
    count = sum(name.startswith("layers.") and name.endswith(".bias") for name in tensors)
    if not count:
        raise ValueError("no layers")
    return [(tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"]) for i in range(count)]
