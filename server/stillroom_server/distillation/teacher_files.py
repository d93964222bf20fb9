"""What a teacher's folder holds, read and checked before any heavy import.

Nothing here executes or unpickles anything of the folder: JSON and safetensors headers only.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from stillroom_registry.errors import DataLoss, FailedPrecondition, InvalidArgument

SAFETENSORS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth")
# Where sentence-transformers has kept the settings of its Transformer module, newest name first.
_SETTINGS = tuple(
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_LARGEST_JSON = 256 << 20  # the largest tokenizer.json in use has about 40 MB
_LARGEST_HEADER = 100 << 20  # the safetensors format's own limit


@dataclass(frozen=True)
class TransformerFiles:
    """The transformer of a teacher: its folder, its config.json, its checked weight files."""

    folder: Path
    config: Mapping[str, Any]
    weights: tuple[Path, ...]

    @property
    def model_type(self) -> str:
        return str(self.config.get("model_type", ""))

    @property
    def size(self) -> int:
        """Bytes of the weights."""
        return sum(path.stat().st_size for path in self.weights)


def read_transformer(folder: Path) -> TransformerFiles:
    """Checks that ``folder`` holds a transformer that can be loaded without trusting it.

    Raises InvalidArgument(NOT_A_MODEL), FailedPrecondition(PICKLE_REFUSED) where the weights exist
    only as a pickle, DataLoss(FILE_CORRUPT) for damaged files.
    """
    if not (folder / "config.json").is_file():
        raise not_a_model(folder, "it has no config.json")
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise not_a_model(folder, "its config.json names no model_type")
    return TransformerFiles(folder, config, find_weights(folder))


def read_transformer_settings(folder: Path) -> dict[str, Any]:
    """What sentence-transformers was told of the transformer in ``folder``: max_seq_length,
    do_lower_case and more; empty where it was told nothing. Raises DataLoss for a damaged file."""
    return next(filter(None, (read_optional_object(folder / name) for name in _SETTINGS)), {})


def find_weights(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of ``folder``, one or its shards, with sound headers. Raises as
    ``read_transformer``."""
    if (folder / SAFETENSORS).is_file():
        paths = [folder / SAFETENSORS]
    elif (folder / _INDEX).is_file():
        index = read_json(folder / _INDEX)
        names = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(names, dict) or not names:
            raise corrupt(folder / _INDEX, "it has no weight_map")
        paths = [inside(folder, str(name)) for name in sorted(set(map(str, names.values())))]
    elif any((folder / name).exists() for name in _PICKLES):
        raise FailedPrecondition(
            f"{folder.name} holds its weights only as a pickle, which can run code when it is read;"
            " convert it to safetensors (model.save_pretrained of transformers writes them) and"
            " import it again",
            reason="PICKLE_REFUSED",
            field="teacher",
        )
    elif (folder / "adapter_config.json").exists():
        raise not_a_model(folder, "it is an adapter; merge it into its base model first")
    else:
        raise not_a_model(folder, f"it has no {SAFETENSORS}")
    for path in paths:
        check_safetensors(path)
    return tuple(paths)


def check_safetensors(path: Path) -> None:
    """Raises DataLoss unless the header is sound and its tensors fill the file exactly."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
                raise corrupt(path, "its header is cut short or has no sensible length")
            header = json.loads(stream.read(length))
        tensors = [value for key, value in header.items() if key != "__metadata__"]
        ends = sorted(tuple(map(int, tensor["data_offsets"])) for tensor in tensors)
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise corrupt(path, f"its header cannot be read: {error}") from error
    position = 0
    for begin, end in ends:
        if begin != position or end < begin:
            raise corrupt(path, "its tensors overlap or leave a gap")
        position = end
    if 8 + length + position != size:
        raise corrupt(path, f"it has {size:,} bytes where {8 + length + position:,} are declared")


def read_json(path: Path) -> Any:
    """A JSON file of the teacher. Raises DataLoss(FILE_CORRUPT) naming it."""
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise corrupt(path, f"it is larger than {_LARGEST_JSON >> 20} MiB")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise corrupt(path, f"it is not JSON: {error}") from error


def read_optional_object(path: Path) -> dict[str, Any]:
    """A JSON object, empty where the file does not exist. Raises DataLoss(FILE_CORRUPT)."""
    if not path.is_file():
        return {}
    value = read_json(path)
    if not isinstance(value, dict):
        raise corrupt(path, "it is not a JSON object")
    return value


def inside(folder: Path, name: str) -> Path:
    """``folder``/``name``, for a name that stays inside. Raises InvalidArgument otherwise."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name:
        raise InvalidArgument(
            f"{folder.name} refers to {name!r}, outside its own folder",
            reason="PATH_ESCAPES",
            field="teacher",
        )
    return folder / parts


def corrupt(path: Path, why: str) -> DataLoss:
    return DataLoss(
        f"{path.name} of {path.parent.name} is damaged: {why}; fetch or upload the model again",
        reason="FILE_CORRUPT",
        field="teacher",
        metadata={"file": path.name},
    )


def not_a_model(folder: Path, why: str) -> InvalidArgument:
    return InvalidArgument(
        f"{folder.name} is no Hugging Face model: {why}", reason="NOT_A_MODEL", field="teacher"
    )
