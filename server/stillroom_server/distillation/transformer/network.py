"""The student as one function: token ids to sentence vectors, with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from stillroom_server.distillation.pooling import pool


class StudentNetwork(nn.Module):
    """Transformer, pooling, perhaps a linear map, and unit length where the teacher's vectors have
    it: the modules that sentence-transformers finds in the folder.

    ``dense``, without bias, is there where the student's width or dimensions are not the teacher's,
    or where the teacher has more behind its pooling than Normalize; it stands for all of that.
    """

    def __init__(
        self, backbone: Any, pooling: Sequence[str], dense: nn.Linear | None, normalized: bool
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = tuple(pooling)
        self.width = int(backbone.config.hidden_size)
        self.dense = dense
        self.normalized = normalized

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name: all but the table of token vectors.

        That is most of a small model, its gradient is dense, and each of its rows is seen rarely.
        Held still, checkpoints of MiniLM's half are a third as large and updates cheaper; in 128
        steps from the same start it cost 0.0014 of the held-out cosine.
        """
        table = self.backbone.get_input_embeddings().weight
        return {name: value for name, value in self.named_parameters() if value is not table}

    @property
    def dimensions(self) -> int:
        return self.width * len(self.pooling) if self.dense is None else self.dense.out_features

    def states(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """(n, s) int64 ids and their mask, padding to the right -> what every layer reads, and
        last what the transformer gives, (n, s, h) each."""
        return hidden_states(self.backbone, ids, mask)

    def pooled(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """(n, s, h) -> (n, h x modes) float32."""
        return pooled(hidden, mask, self.pooling)

    def head(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """What the transformer gives, (n, s, h) -> the sentence vectors, (n, d) float32."""
        vectors = self.pooled(hidden, mask)
        if self.dense is not None:
            vectors = self.dense(vectors)
        return normalize(vectors, dim=-1) if self.normalized else vectors

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The sentence vectors, (n, d) float32."""
        output = self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        return self.head(output.last_hidden_state, attention_mask)


def hidden_states(backbone: Any, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
    """As ``StudentNetwork.states``, of any transformer."""
    output = backbone(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    return (*output.hidden_states[:-1], output.last_hidden_state)


def pooled(hidden: Tensor, mask: Tensor, modes: Sequence[str]) -> Tensor:
    """(n, s, h) -> (n, h x modes) float32."""
    return torch.cat([_pool(hidden, mask, mode) for mode in modes], dim=-1)


def _pool(hidden: Tensor, mask: Tensor, mode: str) -> Tensor:
    """As ``pooling.pool``, without a number of rows that a traced graph would keep for ever."""
    if mode == "cls":
        return hidden[:, 0]
    if mode == "lasttoken":
        last = (mask.sum(1) - 1).clamp(min=0)
        at = last[:, None, None].expand(-1, 1, hidden.shape[-1])
        return hidden.gather(1, at).squeeze(1)
    return pool(hidden, mask, (mode,))
