"""The student as one function: token ids to sentence vectors, with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from stillroom_server.distillation.pooling import pool


class StudentNetwork(nn.Module):
    """Transformer, pooling, a linear map to the student's dimensions, and unit length where the
    teacher's vectors have it: the modules that sentence-transformers finds in the folder.

    The linear map stands for all that the teacher has behind its pooling. It begins as the least
    squares solution, so that training starts from the best that the kept layers can say.
    """

    def __init__(
        self, backbone: Any, pooling: Sequence[str], dimensions: int, normalized: bool
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = tuple(pooling)
        width = int(backbone.config.hidden_size) * len(self.pooling)
        self.dense = nn.Linear(width, dimensions, bias=False)
        self.normalized = normalized

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(n, s) int64 ids and their mask, padding to the right -> (n, h x modes) float32."""
        hidden = self.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        return torch.cat([_pool(hidden, mask, mode) for mode in self.pooling], dim=-1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The sentence vectors, (n, d) float32."""
        vectors: Tensor = self.dense(self.pooled(input_ids, attention_mask))
        return normalize(vectors, dim=-1) if self.normalized else vectors


def _pool(hidden: Tensor, mask: Tensor, mode: str) -> Tensor:
    """As ``pooling.pool``, without a number of rows that a traced graph would keep for ever."""
    if mode == "cls":
        return hidden[:, 0]
    if mode == "lasttoken":
        last = (mask.sum(1) - 1).clamp(min=0)
        at = last[:, None, None].expand(-1, 1, hidden.shape[-1])
        return hidden.gather(1, at).squeeze(1)
    return pool(hidden, mask, (mode,))
