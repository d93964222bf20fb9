from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from distillation import teachers as tiny
from serving import Serving, serving

from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind
from stillroom_server.distillation.teacher import Teacher

PROMPTS = {"query": "the student ", "none": ""}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``bert``: plain; ``prompted``: with prompts, a default one, and its tokens not pooled;
    ``broken``: without weights."""
    root = tmp_path_factory.mktemp("teachers")
    bert = tiny.make("bert", root / "bert")
    prompted = root / "prompted"
    _with_prompts(bert, prompted)
    broken = root / "broken"
    broken.mkdir()
    (broken / "config.json").write_text(json.dumps({"model_type": "bert"}))
    return {"bert": bert, "prompted": prompted, "broken": broken}


def _with_prompts(base: Path, folder: Path) -> None:
    """As sentence-transformers writes it; its import would take longer than all tests here."""
    shutil.copytree(base, folder)
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    listed = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (kind, path) in enumerate(modules)
    ]
    pooling = {"embedding_dimension": 32, "pooling_mode": "mean", "include_prompt": False}
    settings = {"prompts": PROMPTS, "default_prompt_name": "query"}
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))


@pytest.fixture(scope="session")
def data(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with all of ``folders`` as teachers."""
    path = tmp_path_factory.mktemp("data")
    registry = Registry.open(path)
    for name, folder in folders.items():
        registry.publish(name, ModelKind.TEACHER, folder)
    registry.close()
    return path


@pytest.fixture(scope="session")
def bert(folders: dict[str, Path]) -> Teacher:
    return Teacher.load(folders["bert"], "cpu", "float32")


@pytest.fixture(scope="session")
def prompted(folders: dict[str, Path]) -> Teacher:
    return Teacher.load(folders["prompted"], "cpu", "float32")


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[Serving]:
    with serving(data, device="cpu", teacher_dtype="float32") as running:
        yield running
