"""From token vectors to one vector a text, as sentence-transformers' Pooling defines it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stillroom_registry.errors import InvalidArgument

if TYPE_CHECKING:
    from torch import Tensor

# In the order in which the older configuration's flags are concatenated.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
POOLING_MODES: tuple[str, ...] = tuple(_FLAGS.values())


def modes_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The modes that a Pooling module's config.json names, new form (``pooling_mode``) or old
    (flags). Raises InvalidArgument for one that does not exist."""
    named = config.get("pooling_mode")
    if named is None:
        named = [mode for flag, mode in _FLAGS.items() if config.get(flag)] or ["mean"]
    modes = (named,) if isinstance(named, str) else tuple(named)
    for mode in modes:
        if mode not in POOLING_MODES:
            raise InvalidArgument(
                f"the teacher's pooling mode {mode!r} is none of {', '.join(POOLING_MODES)}",
                reason="UNSUPPORTED_POOLING",
                field="teacher",
            )
    return modes


def pool(hidden: Tensor, mask: Tensor | None, modes: Sequence[str], skip: int = 0) -> Tensor:
    """(n, s, h) token vectors and their (n, s) mask -> (n, h x modes) float32.

    The mask is 1 on the left, 0 on padding to the right; None when nothing is padded. The first
    ``skip`` tokens, those of a prompt, are left out. A row of which nothing is left gives no
    infinities: its maximum is zero.
    """
    import torch

    hidden = hidden.float()
    if mask is None and skip == 0 and tuple(modes) == ("mean",):
        return hidden.mean(1)
    if mask is None:
        mask = torch.ones(hidden.shape[:2], device=hidden.device)
    mask = mask.to(hidden.dtype)
    if skip:
        mask = mask.clone()
        mask[:, :skip] = 0
    return torch.cat([_POOLS[mode](hidden, mask) for mode in modes], dim=-1)


def _cls(hidden: Tensor, mask: Tensor) -> Tensor:
    return _at(hidden, mask.argmax(1))


def _max(hidden: Tensor, mask: Tensor) -> Tensor:
    largest = hidden.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(1)
    return largest.masked_fill(mask.amax(1, keepdim=True) == 0, 0.0)


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    return _sum(hidden, mask) / mask.sum(1, keepdim=True).clamp(min=1e-9)


def _mean_sqrt(hidden: Tensor, mask: Tensor) -> Tensor:
    return _sum(hidden, mask) / mask.sum(1, keepdim=True).clamp(min=1e-9).sqrt()


def _weighted_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Later tokens weigh more: position i, from 1, has weight i (SGPT, arXiv 2202.08904)."""
    import torch

    weights = mask * torch.arange(1, hidden.shape[1] + 1, device=hidden.device)
    return _sum(hidden, weights) / weights.sum(1, keepdim=True).clamp(min=1e-9)


def _last(hidden: Tensor, mask: Tensor) -> Tensor:
    import torch

    positions = torch.arange(hidden.shape[1], device=hidden.device)
    last = (mask * positions).argmax(1)
    return _at(hidden, last) * mask.amax(1, keepdim=True)


def _sum(hidden: Tensor, weights: Tensor) -> Tensor:
    import torch

    return torch.bmm(weights.unsqueeze(1), hidden).squeeze(1)


def _at(hidden: Tensor, positions: Tensor) -> Tensor:
    import torch

    return hidden[torch.arange(len(hidden), device=hidden.device), positions]


_POOLS = {
    "cls": _cls,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}
