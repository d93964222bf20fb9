"""A transformer student's folder, as sentence-transformers and transformers read it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillroom_server.distillation.export.card import SENTENCE_TRANSFORMERS, write_card
from stillroom_server.distillation.export.manifest import MANIFEST, write_json, write_manifest
from stillroom_server.distillation.teacher_files import SAFETENSORS

if TYPE_CHECKING:
    from stillroom_server.distillation.transformer.network import StudentNetwork

ARCHITECTURE = "transformer"  # the key "architecture" of stillroom.json
_MODULES = "sentence_transformers.models"
# What the tokenizer is called, beside tokenizer.json; each is copied where the teacher has it.
_TOKENIZER_FILES = ("tokenizer_config.json", "special_tokens_map.json")
POOLING, DENSE, NORMALIZE = "1_Pooling", "2_Dense", "3_Normalize"


def write_network(folder: Path, network: StudentNetwork, element_type: str) -> None:
    """The weights and what they mean: config.json, model.safetensors, modules.json, 1_Pooling,
    2_Dense where the network has it and, where vectors have unit length, 3_Normalize.

    Tensors are float32 for ``element_type`` float32, else float16, which every reader widens:
    none of them knows int8. config.json says float32 in any case, so that is what they compute in.
    """
    import torch

    held = torch.float32 if element_type == "float32" else torch.float16
    folder.mkdir(parents=True, exist_ok=True)
    backbone = network.backbone
    backbone.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config.pop("_name_or_path", None)
    config["architectures"] = [type(backbone).__name__]
    config.pop("torch_dtype", None)
    config["dtype"] = "float32"
    write_json(folder / "config.json", config)
    if held != torch.float32:
        _narrow(folder / SAFETENSORS, held)

    write_json(folder / "modules.json", _modules(network))
    pooling = network.pooling
    (folder / POOLING).mkdir(exist_ok=True)
    write_json(
        folder / POOLING / "config.json",
        {
            "word_embedding_dimension": network.width,
            **{flag: mode in pooling for flag, mode in _FLAGS.items()},
            "include_prompt": True,
        },
    )
    if network.dense is not None:
        _write_dense(folder / DENSE, network.dense, held)
    if network.normalized:
        (folder / NORMALIZE).mkdir(exist_ok=True)
        write_json(folder / NORMALIZE / "config.json", {})


def write_tokenizer(
    folder: Path,
    source: str,
    teacher: Path,
    max_tokens: int | None,
    prompts: Mapping[str, str],
    default_prompt: str | None,
) -> None:
    """tokenizer.json without cutting and padding, the teacher's names of special tokens, where to
    cut, and the prompts. ``teacher``: the folder of its transformer."""
    parts = json.loads(source)
    parts["truncation"] = parts["padding"] = None
    text = json.dumps(parts, ensure_ascii=False)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    for name in _TOKENIZER_FILES:
        if (teacher / name).is_file():
            shutil.copyfile(teacher / name, folder / name)
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": max_tokens, "do_lower_case": False},
    )
    write_json(
        folder / "config_sentence_transformers.json",
        {"prompts": dict(prompts), "default_prompt_name": default_prompt},
    )


def write_description(
    folder: Path,
    *,
    card: Mapping[str, Any],
    facts: Mapping[str, object],
    lineage: Mapping[str, Any],
    options: Mapping[str, Any],
    metrics: Mapping[str, Any],
    prompts: Mapping[str, str],
) -> None:
    """README.md and, last, stillroom.json with the digests of all the rest."""
    write_card(folder, card, facts=facts, library=SENTENCE_TRANSFORMERS)
    write_manifest(folder, kind="student", lineage=lineage, options=options, metrics=metrics)
    path = folder / MANIFEST
    body = json.loads(path.read_text(encoding="utf-8"))
    body["architecture"] = ARCHITECTURE
    if prompts:
        body["prompts"] = dict(prompts)
    write_json(path, body)


def _narrow(path: Path, dtype: Any) -> None:
    from safetensors.torch import load_file, save_file

    tensors = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in load_file(path).items()
    }
    save_file(tensors, path, metadata={"format": "pt"})


def _write_dense(folder: Path, dense: Any, held: Any) -> None:
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    write_json(
        folder / "config.json",
        {
            "in_features": dense.in_features,
            "out_features": dense.out_features,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )
    weight = dense.weight.detach().to(held).contiguous()
    save_file({"linear.weight": weight}, folder / SAFETENSORS, metadata={"format": "pt"})


def _modules(network: StudentNetwork) -> list[dict[str, Any]]:
    parts = [("", "Transformer"), (POOLING, "Pooling")]
    if network.dense is not None:
        parts.append((DENSE, "Dense"))
    if network.normalized:
        parts.append((NORMALIZE, "Normalize"))
    return [
        {"idx": at, "name": str(at), "path": path, "type": f"{_MODULES}.{kind}"}
        for at, (path, kind) in enumerate(parts)
    ]


# The older form of a pooling's configuration, which every release of the library reads.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
