"""Any encoder that transformers itself implements. Never code of the model's own."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import DataLoss, FailedPrecondition
from stillroom_server.distillation.teacher_files import TransformerFiles

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Encoder-decoders of which sentence encoders use the encoder alone.
_ENCODER_HALVES = {
    "t5": "T5EncoderModel",
    "mt5": "MT5EncoderModel",
    "umt5": "UMT5EncoderModel",
    "longt5": "LongT5EncoderModel",
}
# Weights that a sentence encoder can lack: nothing that it computes depends on them.
_OPTIONAL = ("pooler.", "position_ids", "token_type_ids")


class TransformersEncoder:
    """An ``Encoder`` around a transformers model."""

    def __init__(self, model: Any, has_pooler: bool) -> None:
        self._model = model
        self.width = int(model.config.hidden_size)
        self.rows = int(model.get_input_embeddings().weight.shape[0])
        self.has_pooler = has_pooler

    def hidden(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        output: Tensor = self._run(ids, mask).last_hidden_state
        return output

    def pooled(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        output: Tensor = self._run(ids, mask).pooler_output
        return output

    def _run(self, ids: Tensor, mask: Tensor | None) -> Any:
        import torch

        # Some models guess a mask from the padding id, which a vocabulary also contains.
        return self._model(
            input_ids=ids, attention_mask=torch.ones_like(ids) if mask is None else mask.long()
        )


def load(files: TransformerFiles, device: torch.device, dtype: torch.dtype) -> TransformersEncoder:
    """Loads ``files`` from the disk alone.

    Raises FailedPrecondition(UNSUPPORTED_ARCHITECTURE) for a model type that transformers does not
    know, FailedPrecondition(REMOTE_CODE_REFUSED) where only the model's own code would fit the
    weights, DataLoss(WEIGHTS_INCOMPLETE) where weights are missing.
    """
    import transformers

    logs: Any = transformers.logging
    logs.set_verbosity_error()
    logs.disable_progress_bar()
    own_code = "AutoModel" in (files.config.get("auto_map") or {})
    loader = getattr(transformers, _ENCODER_HALVES.get(files.model_type, "AutoModel"))
    try:
        model, report = loader.from_pretrained(
            str(files.folder),
            trust_remote_code=False,
            local_files_only=True,
            use_safetensors=True,
            dtype=dtype,
            output_loading_info=True,
        )
    except (ValueError, KeyError, OSError, ImportError, RuntimeError, AttributeError) as error:
        if own_code:
            raise _remote_code(files) from error
        raise FailedPrecondition(
            f"transformers cannot load {files.folder.name} (model type {files.model_type!r}):"
            f" {error}",
            reason="UNSUPPORTED_ARCHITECTURE",
            field="teacher",
            metadata={"model_type": files.model_type},
        ) from error
    missing = sorted(map(str, report["missing_keys"]))
    needed = [name for name in missing if not any(part in name for part in _OPTIONAL)]
    if own_code and (needed or report["unexpected_keys"]):
        raise _remote_code(files)
    reshaped = sorted(map(str, report["mismatched_keys"]))
    if needed or reshaped:
        raise DataLoss(
            f"the weights of {files.folder.name} do not fit its config.json: missing"
            f" {', '.join(needed[:5]) or 'none'}, of another shape"
            f" {', '.join(reshaped[:5]) or 'none'}",
            reason="WEIGHTS_INCOMPLETE",
            field="teacher",
        )
    model = model.eval().to(device)
    if getattr(model.config, "use_cache", False):
        model.config.use_cache = False  # keys and values that nobody comes back for
    lacks = any("pooler." in name for name in missing)
    has_pooler = getattr(model, "pooler", None) is not None and not lacks
    if "input_ids" not in inspect.signature(model.forward).parameters:
        raise FailedPrecondition(
            f"{files.model_type} does not read text",
            reason="UNSUPPORTED_ARCHITECTURE",
            field="teacher",
        )
    return TransformersEncoder(model, has_pooler)


def _remote_code(files: TransformerFiles) -> FailedPrecondition:
    return FailedPrecondition(
        f"{files.folder.name} needs code of its own to run, and code of a model is never run here;"
        " use a teacher whose architecture transformers implements",
        reason="REMOTE_CODE_REFUSED",
        field="teacher",
    )
