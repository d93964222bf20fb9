"""The network that training begins with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from stillroom_server.distillation.pooling import POOLING_MODES
from stillroom_server.distillation.transformer import start
from stillroom_server.distillation.transformer.backbone import build_backbone, load_model
from stillroom_server.distillation.transformer.batches import padded, tokenize
from stillroom_server.distillation.transformer.given import Run, cut
from stillroom_server.distillation.transformer.network import StudentNetwork, pooled


def begin(run: Run) -> tuple[StudentNetwork, Any, Tensor | None]:
    """The network that training begins with, the transformer whose layers it learns from, and the
    axes that its targets are reduced to."""
    given, features = run.given, run.features
    run.context.progress("prepare", 0, 0, unit="student")
    run.context.check_cancelled()
    modules = given.files.modules
    modes = [mode for mode in POOLING_MODES if mode in modules.pooling]
    teacher = load_model(given.files.transformer)
    backbone = build_backbone(teacher, given.shape)
    plain = all(module.kind == "Normalize" for module in modules.after)
    dense = None
    if given.shape.narrowed or given.dimensions < features.dim or not plain:
        dense = torch.nn.Linear(given.shape.width * len(modes), given.dimensions, bias=False)
    normalized = bool(modules.after) and modules.after[-1].kind == "Normalize"
    network = StudentNetwork(backbone, modes, dense, normalized).eval()
    axes = None
    if given.dimensions < features.dim:
        axes = run.workers.alone(
            partial(start.principal_axes, run.corpus, features, given.dimensions)
        )
    if given.shape.narrowed:  # states of another width compare with nothing
        teacher = None
    if dense is not None:
        source = backbone if teacher is None else teacher
        weight = _fitted(run, source, modes, axes)
        with torch.no_grad():
            dense.weight.copy_(weight)
    run.context.progress("prepare", 1, 1, unit="student")
    return network, teacher, axes


def _fitted(run: Run, source: Any, modes: Sequence[str], axes: Tensor | None) -> Tensor:
    """The linear map from what ``source`` gives, pooled, to the targets. The student learns to
    give what its teacher gives, so of one as wide the teacher is the source."""
    tokenizer = cut(run.given)
    rows: list[list[int]] = []
    targets: list[Tensor] = []
    for index, shard in enumerate(run.corpus.training):
        if len(rows) < start.FIT_TEXTS:
            rows += tokenize(shard, tokenizer, run.given.prompt)
            targets.append(start.reduced(run.features.training(index), axes))

    def pooled_piece(piece: list[int]) -> Tensor:
        ids, mask = map(torch.from_numpy, padded([rows[at] for at in piece]))
        with torch.no_grad():
            hidden = source(input_ids=ids, attention_mask=mask).last_hidden_state
            return pooled(hidden, mask, modes)

    order = sorted(range(min(len(rows), start.FIT_TEXTS)), key=lambda at: (len(rows[at]), at))
    pieces = [order[at : at + 32] for at in range(0, len(order), 32)]
    found = []
    for at in range(0, len(pieces), 2):
        found += run.workers.run([partial(pooled_piece, piece) for piece in pieces[at : at + 2]])
        run.context.progress("prepare", at, len(pieces), unit="batches")
    return run.workers.alone(partial(start.fit_linear, torch.cat(found), torch.cat(targets)[order]))
