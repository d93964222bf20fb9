"""Recognizes a teacher: a transformer, alone or under sentence-transformers' modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stillroom_registry.errors import FailedPrecondition
from stillroom_server.distillation.modules import ModuleFiles, read_modules
from stillroom_server.distillation.teacher_files import (
    TransformerFiles,
    find_weights,
    read_optional_object,
    read_transformer,
)
from stillroom_server.imports.headers import main_type, parameters, read_header
from stillroom_server.imports.refusals import no_fast_tokenizer, pickle_refused
from stillroom_server.imports.selection import SkippedFile, holds_pickle

_HIDDEN_SIZES = ("hidden_size", "d_model", "dim", "n_embd", "hidden_dim")
_LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")


def recognize_teacher(
    folder: Path, skipped: Sequence[SkippedFile]
) -> tuple[dict[str, Any], frozenset[str], tuple[str, ...]]:
    """Facts, weight files in use (relative to ``folder``) and notes of a teacher.

    Raises what ``recognize`` documents, with fields and DataLoss as the distillation room has them.
    """
    modules = read_modules(folder)
    where = modules.transformer
    _refuse_pickles(folder, where, skipped)
    transformer = read_transformer(where)
    notes = _refuse_remote_code(transformer.config)
    if not (where / "tokenizer.json").is_file():
        raise no_fast_tokenizer()
    weights = list(transformer.weights)
    dense = [module for module in modules.after if module.kind in ("Dense", "LayerNorm")]
    for module in dense:
        _refuse_pickles(folder, module.folder, skipped)
        weights += find_weights(module.folder)
    headers = [read_header(path) for path in weights]
    settings = read_optional_object(folder / "config_sentence_transformers.json")
    facts = {
        **_facts(transformer, modules),
        "parameters": parameters(headers),
        "element_type": main_type(headers),
        "prompts": sorted(map(str, settings.get("prompts") or ())),
    }
    return facts, frozenset(path.relative_to(folder).as_posix() for path in weights), notes


def _facts(transformer: TransformerFiles, modules: ModuleFiles) -> dict[str, Any]:
    config = transformer.config
    hidden = _number(config, _HIDDEN_SIZES)
    dimensions = None if hidden is None else hidden * len(modules.pooling)
    for module in modules.after:
        if module.kind == "Dense":
            dimensions = _number(module.config, ("out_features",)) or dimensions
    architectures = config.get("architectures") or [transformer.model_type]
    return {
        "architecture": str(architectures[0]),
        "model_type": transformer.model_type,
        "dimensions": dimensions,
        "hidden_size": hidden,
        "layers": _number(config, _LAYERS),
        "vocabulary": _number(config, ("vocab_size",)),
        "pooling": list(modules.pooling),
        "normalize": any(module.kind == "Normalize" for module in modules.after),
    }


def _number(config: Mapping[str, Any], names: Sequence[str]) -> int | None:
    values = (config.get(name) for name in names)
    return next((value for value in values if type(value) is int and value > 0), None)


def _refuse_pickles(folder: Path, where: Path, skipped: Sequence[SkippedFile]) -> None:
    """When there are weights, but none that is safe to read."""
    if any(where.glob("*.safetensors")) or (where / "model.safetensors.index.json").is_file():
        return
    place = where.relative_to(folder).as_posix()
    if holds_pickle(skipped, "" if place == "." else place):
        raise pickle_refused()


def _refuse_remote_code(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The weights of a model with an AutoModel of its own mean what that code says, also where its
    model_type is a known one; loaded by other code they would give wrong vectors in silence."""
    own = config.get("auto_map")
    if not own:
        return ()
    if not isinstance(own, Mapping) or "AutoModel" in own:
        raise FailedPrecondition(
            "the model brings code of its own (auto_map in config.json), which is never run; use a "
            "model that transformers itself implements",
            reason="REMOTE_CODE_REFUSED",
            field="source",
        )
    return ("config.json names code of the model's own (auto_map); it is ignored",)
