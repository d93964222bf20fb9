"""Transformer students of this server's making that come back to it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distillation import teachers
from imports.importing import Context, at, run
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import Pooling

from stillroom_registry.errors import StillroomError
from stillroom_registry.registry import ModelKind, Registry
from stillroom_server.distillation.export.manifest import reseal, write_manifest
from stillroom_server.inference.embedders import load_embedder


class _Whole(torch.nn.Module):
    def __init__(self, folder: Path, factor: float) -> None:
        super().__init__()
        self.model = SentenceTransformer(str(folder), device="cpu")[0].model
        self.model.set_attn_implementation("eager")
        self.factor = factor

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).float()
        mean = (hidden * weights).sum(1) / weights.sum(1)
        bent = mean + self.factor * mean.roll(1, dims=1)
        return torch.nn.functional.normalize(bent, dim=-1)


def write(folder: Path, factor: float = 0.0) -> None:
    """A student whose graph is wrong by ``factor``."""
    base = teachers.make("bert", folder.parent / "base")
    teachers.with_modules(base, folder, lambda: Pooling(32), Normalize)
    (folder / "onnx").mkdir()
    ids = torch.arange(10).reshape(2, 5)
    names = ["input_ids", "attention_mask"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Whole(folder, factor).eval(),
            (ids, torch.ones_like(ids)),
            str(folder / "onnx/model.onnx"),
            input_names=names,
            output_names=["sentence_embedding"],
            dynamic_axes={name: {0: "batch", 1: "sequence"} for name in names},
            dynamo=False,
        )
    write_manifest(folder, kind="student", lineage={"teacher": "models/t/versions/1"})


def test_it_comes_back_as_it_went(registry: Registry, context: Context) -> None:
    source = at(context, write)
    version, result = run(registry, context, source)
    assert version.kind is ModelKind.STUDENT
    assert version.metadata["layout"] == "stillroom-transformer"
    assert (version.metadata["dimensions"], version.metadata["max_tokens"]) == (32, 64)
    assert version.metadata["parity"]["min_cosine"] > 0.99999
    assert result["skipped_files"] == []
    made, theirs = registry.folder(version), Path(source["path"])
    for name in ("onnx/model.onnx", "model.safetensors", "tokenizer.json"):
        assert (made / name).read_bytes() == (theirs / name).read_bytes()
    manifest = json.loads((made / "stillroom.json").read_text())
    assert manifest["lineage"] == {"teacher": "models/t/versions/1"}
    texts = [text for text in teachers.TEXTS if text]
    found = load_embedder(made).embed(texts).vectors
    expected = SentenceTransformer(source["path"], device="cpu").encode(texts)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_without_its_manifest_it_is_a_teacher(registry: Registry, context: Context) -> None:
    source = at(context, write)
    (Path(source["path"]) / "stillroom.json").unlink()
    version, _ = run(registry, context, source)
    assert version.kind is ModelKind.TEACHER


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("graph", "PARITY_FAILED"),
        ("no graph", "ONNX_MISSING"),
        ("broken graph", "PARITY_FAILED"),
        ("changed", "MANIFEST_MISMATCH"),
    ],
)
def test_what_does_not_fit_is_refused(
    registry: Registry, context: Context, spoil: str, reason: str
) -> None:
    source = at(context, lambda folder: write(folder, 0.1 if spoil == "graph" else 0.0))
    folder = Path(source["path"])
    if spoil == "no graph":
        (folder / "onnx/model.onnx").unlink()
        reseal(folder)
    elif spoil == "broken graph":
        (folder / "onnx/model.onnx").write_bytes(b"no graph")
        reseal(folder)
    elif spoil == "changed":
        (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(StillroomError) as caught:
        run(registry, context, source)
    assert (caught.value.reason, caught.value.field) == (reason, "source")
