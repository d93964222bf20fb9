"""What computes token vectors, and the choice between the two that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from stillroom_server.distillation import bert_encoder
from stillroom_server.distillation.teacher_files import TransformerFiles

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Encoder(Protocol):
    """A transformer's forward pass, without gradients.

    ``width`` is the size h of a token vector, ``rows`` how many token ids it knows, ``has_pooler``
    whether the checkpoint has a pooler.
    """

    width: int
    rows: int
    has_pooler: bool

    def hidden(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """(n, s) int64 ids and their (n, s) mask, padding to the right (None: no padding) -> the
        last hidden state, (n, s, h), in the encoder's element type."""
        ...

    def pooled(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """The checkpoint's own pooler output, (n, h)."""
        ...


def load_encoder(
    files: TransformerFiles, device: torch.device, dtype: torch.dtype, *, native: bool = True
) -> Encoder:
    """BERT's and RoBERTa's relatives run on our own forward pass: importing transformers' takes
    longer than distilling a small teacher. Every other architecture runs on transformers.
    ``native=False`` takes transformers in any case."""
    if native and bert_encoder.supports(files.config):
        encoder = bert_encoder.load(files, device, dtype)
        if encoder is not None:
            return encoder
    from stillroom_server.distillation.transformers_encoder import load

    return load(files, device, dtype)
