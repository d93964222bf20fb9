from __future__ import annotations

import json
from pathlib import Path

import pytest
from distillation.export.tiny import write_tiny
from huggingface_hub import ModelCard

from stillroom_server.distillation.export.card import (
    MODEL2VEC,
    SENTENCE_TRANSFORMERS,
    add_fidelity,
    write_card,
)
from stillroom_server.distillation.fidelity.attach import attach

REPORT = {
    "text_source": "held_out",
    "texts": 1234,
    "student_bytes": 15_100_000,
    "cosine_basis": "aligned",
    "mean_cosine": 0.81234,
    "p5_cosine": None,
    "similarity_spearman": 0.7,
    "recall_at_10": 0.5,
    "recall_neighbors": 10,
    "prefixes": [{"dimensions": 32, "similarity_spearman": 0.61, "recall_at_10": None}],
    "quantizations": [
        {
            "element_type": "int8",
            "mean_cosine": 0.99991,
            "bytes": 7_600_000,
            "spearman_change": -1e-4,
        }
    ],
    "scores": [
        {"name": "<b>|x", "metric": "accuracy", "student": 0.9, "teacher": None, "count": 77}
    ],
    "corpus": {"digest": "sha256:ab", "texts": 47091, "options": {"nested": 1}},
    "distribution": {
        "cosines": {"low": 0.0, "high": 1.0, "counts": [3] * 40},
        "similarities": {"low": 0.0, "high": 1.0, "counts": [[1] * 40] * 40},
    },
    "measured_speed": {"student_tokens_per_second": 1_000_000.0, "teacher_tokens_per_second": None},
}


@pytest.mark.parametrize(
    ("library", "reader"),
    [(MODEL2VEC, "StaticModel"), (SENTENCE_TRANSFORMERS, "SentenceTransformer")],
)
def test_the_card_names_the_library_that_reads_the_folder(
    tmp_path: Path, library: str, reader: str
) -> None:
    write_card(tmp_path, {}, facts={"Layers": 3}, library=library)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.library_name == library
    assert f"import {reader}" in card.text
    assert (MODEL2VEC in card.data.tags) == (library == MODEL2VEC)


def test_the_section_says_what_was_measured_and_hostile_names_are_text(tmp_path: Path) -> None:
    write_card(tmp_path, {"tags": ["<!-- fidelity -->"]}, facts={})
    before = (tmp_path / "README.md").read_text()
    add_fidelity(tmp_path, REPORT, "fidelity.svg")
    text = (tmp_path / "README.md").read_text()
    assert text.startswith(before.rstrip())
    section = text.removeprefix(before.rstrip())
    for line in (
        "## Fidelity",
        "![Fidelity of the student to its teacher](fidelity.svg)",
        "| Mean cosine | 0.8123 |",
        "| 32 | 0.6100 |  |",
        "| int8 | 7.6 MB | 0.99991 | -0.00010 |".replace("| -", "| \\-"),
        "| &lt;b&gt;\\|x | accuracy | 0.9000 |  | 77 |",
        "| Size of the weights, student | 15.1 MB |",
        "| digest | sha256:ab |",
        "| texts | 47,091 |",
        "| Tokens a second, student | 1,000,000 |",
    ):
        assert line in section
    assert "1,234 texts held out" in section
    assert "5th percentile" not in section
    assert "nested" not in section


def test_measuring_again_replaces_the_section(tmp_path: Path) -> None:
    write_card(tmp_path, {}, facts={})
    add_fidelity(tmp_path, REPORT)
    once = (tmp_path / "README.md").read_text()
    add_fidelity(tmp_path, {**REPORT, "mean_cosine": 0.5})
    assert "0.8123" not in (tmp_path / "README.md").read_text()
    add_fidelity(tmp_path, REPORT)
    assert (tmp_path / "README.md").read_text() == once


def test_a_student_gets_its_report_in_every_place_and_keeps_its_weights(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    kept = ("model.safetensors", "tokenizer.json", "config.json")
    before = [(tmp_path / name).read_bytes() for name in kept]
    attach(tmp_path, REPORT)
    assert [(tmp_path / name).read_bytes() for name in kept] == before
    manifest = json.loads((tmp_path / "stillroom.json").read_text())
    assert manifest["metrics"]["mean_cosine"] == 0.81234
    assert {"fidelity.svg", "fidelity.png", "README.md"} <= manifest["files"].keys()
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    attach(tmp_path, REPORT)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
