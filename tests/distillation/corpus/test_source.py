"""What the front refuses before any work."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from stillroom_registry.errors import InvalidArgument
from stillroom_server.distillation.corpus import CorpusOptions, check_source

GOOD: list[Any] = [
    {"texts": ["a", ""]},
    {"path": "/data/corpus.txt"},
    {"upload": "uploads/x", "file": "/data/uploads/x/data"},
    {"dataset": {"repo": "owner/name"}},
    {"dataset": {"repo": "owner/name", "revision": None, "split": "test", "column": "body"}},
]


@pytest.mark.parametrize("source", GOOD)
def test_sources_are_accepted(source: Any) -> None:
    check_source(source)


@pytest.mark.parametrize(
    ("source", "reason", "field"),
    [
        ({}, "SOURCE_REQUIRED", "corpus"),
        (None, "SOURCE_REQUIRED", "corpus"),
        ({"path": "/a", "texts": ["a"]}, "SOURCE_REQUIRED", "corpus"),
        ({"texts": []}, "CORPUS_EMPTY", "corpus.texts"),
        ({"texts": [" ", "\n"]}, "CORPUS_EMPTY", "corpus.texts"),
        ({"texts": ["x" * 1_000_000] * 2}, "CORPUS_TOO_LARGE", "corpus.texts"),
        ({"texts": ["a", 1]}, "INVALID_ARGUMENT", "corpus.texts[1]"),
        ({"dataset": {"repo": ""}}, "BAD_REPO", "corpus.dataset.repo"),
        ({"dataset": {"repo": "a/b", "split": 1}}, "INVALID_ARGUMENT", "corpus.dataset.split"),
        ({"dataset": {"repo": "a/b", "x": 1}}, "INVALID_ARGUMENT", "corpus.dataset"),
    ],
)
def test_sources_are_refused(source: Any, reason: str, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_source(source)
    assert (caught.value.reason, caught.value.field) == (reason, field)


@pytest.mark.parametrize("value", [0, 0.51, -0.1, float("nan"), "0.1", True])
def test_a_share_must_be_one(value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        CorpusOptions(held_out=value)
    assert caught.value.field == "held_out"


@pytest.mark.parametrize("value", [-1, 2**64, 1.5, True])
def test_a_seed_must_be_one(value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        CorpusOptions(seed=value)
    assert caught.value.field == "seed"


def test_the_rooms_are_light() -> None:
    code = (
        "import sys, stillroom_server.distillation.corpus, stillroom_server.distillation.features\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "onnx", "pyarrow", "huggingface_hub"}
    assert not heavy & set(done.stdout.split())
