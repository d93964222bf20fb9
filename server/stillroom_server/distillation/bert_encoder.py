"""The forward pass of BERT (arXiv 1810.04805) and RoBERTa (arXiv 1907.11692), and nothing more.

It gives what transformers' BertModel, RobertaModel and XLMRobertaModel give, without their import
and, for the short sequences of a vocabulary, with an attention that does not pay for a kernel a
head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stillroom_server.distillation.teacher_files import TransformerFiles, corrupt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

# Model type -> the prefixes that its checkpoints put before the names of the bare model.
_PREFIXES = {
    "bert": ("", "bert."),
    "roberta": ("", "roberta."),
    "xlm-roberta": ("", "roberta.", "xlm_roberta."),
}
_ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu")
# Up to this length the products of an attention are written out; beyond it a kernel is faster.
_SHORT = 4


def supports(config: Mapping[str, Any]) -> bool:
    """Whether ``config`` is one of the architectures in the form that every released encoder has;
    code of the folder's own (``auto_map``) may mean anything by the same names."""
    return (
        config.get("model_type") in _PREFIXES
        and not config.get("auto_map")
        and not config.get("is_decoder")
        and not config.get("add_cross_attention")
        and config.get("position_embedding_type", "absolute") == "absolute"
        and config.get("hidden_act", "gelu") in _ACTIVATIONS
        and {"hidden_size", "num_attention_heads", "num_hidden_layers"} <= set(config)
    )


@dataclass(frozen=True)
class _Layer:
    qkv: tuple[Tensor, Tensor]
    attention_out: tuple[Tensor, Tensor]
    attention_norm: tuple[Tensor, Tensor]
    up: tuple[Tensor, Tensor]
    down: tuple[Tensor, Tensor]
    norm: tuple[Tensor, Tensor]


class BertEncoder:
    """An ``Encoder`` of one of these architectures."""

    def __init__(
        self,
        config: Mapping[str, Any],
        take: Callable[[str], Tensor],
        pooler: tuple[Tensor, Tensor] | None,
    ) -> None:
        """``take`` gives the weights by their names in the bare model, on the device, cast."""
        self._heads = int(config["num_attention_heads"])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._gelu = str(config.get("hidden_act", "gelu"))
        pad = config.get("pad_token_id")
        is_bert = config["model_type"] == "bert"
        # RoBERTa counts positions from behind the padding id, and leaves that token out, also where
        # a text spells it.
        self._uncounted = None if is_bert else int(1 if pad is None else pad)
        self._words = take("embeddings.word_embeddings.weight")
        # Every text is one segment, so its vector joins the positions'.
        self._positions = (
            take("embeddings.position_embeddings.weight")
            + take("embeddings.token_type_embeddings.weight")[0]
        )
        self._norm = _pair(take, "embeddings.LayerNorm")
        self._layers = [
            _layer(take, f"encoder.layer.{index}.") for index in range(config["num_hidden_layers"])
        ]
        self._pooler = pooler
        self.rows, self.width = map(int, self._words.shape)
        self.has_pooler = pooler is not None

    def hidden(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        from torch.nn import functional

        n, length = ids.shape
        x = functional.embedding(ids, self._words) + self._positions_of(ids)
        x = self._normed(x, self._norm)
        bias = None
        if mask is not None and not bool(mask.all()):
            bias = mask.to(x.dtype).log()[:, None, None, :]  # 0 or -inf
        for layer in self._layers:
            qkv = functional.linear(x, *layer.qkv).view(n, length, 3, self._heads, -1)
            query, key, value = qkv.unbind(2)
            if bias is None and length <= _SHORT:
                attended = _attend_short(query, key, value)
            else:
                attended = _attend(query, key, value, bias)
            attended = attended.reshape(n, length, -1)
            x = self._normed(
                functional.linear(attended, *layer.attention_out).add_(x), layer.attention_norm
            )
            inner = self._activated(functional.linear(x, *layer.up))
            x = self._normed(functional.linear(inner, *layer.down).add_(x), layer.norm)
        return x

    def pooled(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        from torch.nn import functional

        assert self._pooler is not None
        return functional.linear(self.hidden(ids, mask)[:, 0], *self._pooler).tanh()

    def _positions_of(self, ids: Tensor) -> Tensor:
        """The vectors of the positions of (n, s) ids: (s, h), or (n, s, h) where rows differ."""
        length = ids.shape[1]
        if self._uncounted is None:
            return self._positions[:length]
        counted = ids != self._uncounted
        if bool(counted.all()):
            return self._positions[self._uncounted + 1 : self._uncounted + 1 + length]
        return self._positions[counted.cumsum(1) * counted + self._uncounted]

    def _normed(self, x: Tensor, pair: tuple[Tensor, Tensor]) -> Tensor:
        from torch.nn.functional import layer_norm

        return layer_norm(x, (x.shape[-1],), *pair, self._epsilon)

    def _activated(self, x: Tensor) -> Tensor:
        from torch.nn import functional

        if self._gelu == "relu":
            return functional.relu(x)
        return functional.gelu(x, approximate="none" if self._gelu == "gelu" else "tanh")


def load(files: TransformerFiles, device: torch.device, dtype: torch.dtype) -> BertEncoder | None:
    """The encoder of ``files``; None where its weights are not named as they usually are (then
    transformers, which knows every historic name, has to read them). Raises DataLoss."""
    from safetensors import SafetensorError, safe_open

    tensors: dict[str, Tensor] = {}
    try:
        for path in files.weights:
            with safe_open(path, framework="pt") as shard:
                tensors |= {name: shard.get_tensor(name) for name in shard.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise corrupt(path, str(error)) from error
    for prefix in _PREFIXES[files.model_type]:
        if f"{prefix}embeddings.word_embeddings.weight" in tensors:
            break
    else:
        return None

    def take(name: str) -> Tensor:
        return tensors[prefix + name].to(device=device, dtype=dtype)

    has_pooler = f"{prefix}pooler.dense.weight" in tensors
    try:
        pooler = _pair(take, "pooler.dense") if has_pooler else None
        return BertEncoder(files.config, take, pooler)
    except KeyError:
        return None


def _pair(take: Callable[[str], Tensor], name: str) -> tuple[Tensor, Tensor]:
    return take(f"{name}.weight"), take(f"{name}.bias")


def _layer(take: Callable[[str], Tensor], at: str) -> _Layer:
    import torch

    parts = [_pair(take, f"{at}attention.self.{name}") for name in ("query", "key", "value")]
    weights, biases = zip(*parts, strict=True)
    return _Layer(
        qkv=(torch.cat(weights), torch.cat(biases)),
        attention_out=_pair(take, f"{at}attention.output.dense"),
        attention_norm=_pair(take, f"{at}attention.output.LayerNorm"),
        up=_pair(take, f"{at}intermediate.dense"),
        down=_pair(take, f"{at}output.dense"),
        norm=_pair(take, f"{at}output.LayerNorm"),
    )


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """(n, s, heads, w) each -> the same."""
    from torch.nn.functional import scaled_dot_product_attention

    q, k, v = (part.transpose(1, 2) for part in (query, key, value))
    return scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2)


def _attend_short(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same by multiplying elements: at three tokens a matrix product a head is all overhead."""
    scores = (query.unsqueeze(2) * key.unsqueeze(1)).sum(-1) * query.shape[-1] ** -0.5
    mixed: Tensor = (scores.softmax(2).unsqueeze(-1) * value.unsqueeze(1)).sum(2)
    return mixed
