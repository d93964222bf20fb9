"""Distillation as an operation: publishing and success are one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distillation.contexts import Context

from stillroom_registry.errors import (
    Aborted,
    Cancelled,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from stillroom_registry.registry import ModelKind, Registry
from stillroom_server.distillation.executor import DistillExecutor
from stillroom_server.distillation.fidelity.gate import FidelityTooLow
from stillroom_server.distillation.recipes.request import DistillRequest

Maker = Callable[[str], Path]


@pytest.fixture
def registry(tmp_path: Path, teacher_of: Maker) -> Iterator[Registry]:
    opened = Registry.open(tmp_path / "data")
    opened.publish("tiny-bert", ModelKind.TEACHER, teacher_of("bert"))
    yield opened
    opened.close()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "work").mkdir()
    return Context(tmp_path / "work")


REQUEST: dict[str, Any] = {
    "teacher": "models/tiny-bert/versions/1",
    "name": "small",
    "recipe": {"static": {"dimensions": 12, "add_words": ["zymurgy"]}},
    "description": "for a test",
    "labels": {"team": "still"},
}


def test_the_student_and_the_success_are_published_together(
    registry: Registry, context: Context
) -> None:
    result = DistillExecutor({"dtype": "float32"}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    version = registry.resolve("small")
    assert context.results == [result]
    assert result["model_version"] == version.name == "models/small/versions/1"
    assert result["teacher_version"] == version.parents[0] == "models/tiny-bert/versions/1"
    assert version.kind is ModelKind.STUDENT
    assert version.metadata["report"]["dimensions"] == 12
    assert version.metadata["options"]["add_words"] == ["zymurgy"]
    made = version.metadata["provenance"]
    assert made["seed"] == "0"
    assert made["sources"] == {version.parents[0]: registry.resolve("tiny-bert").digest}
    assert made["libraries"].keys() >= {"numpy", "tokenizers", "torch", "transformers"}
    assert "corpora" not in made
    (edge,) = registry.lineage("small").edges
    assert (edge.parent, edge.relation) == (version.parents[0], "distill")
    model = registry.get_model("small")
    assert (model.description, dict(model.labels)) == ("for a test", {"team": "still"})
    names = {file.path for file in version.files}
    assert {"model.safetensors", "tokenizer.json", "onnx/model.onnx", "stillroom.json"} <= names
    assert {"fidelity.svg", "fidelity.png", "README.md"} <= names
    assert list(dict.fromkeys(context.phases)) == context.expected
    assert not list(context.workspace.glob("student-*"))


def test_the_published_student_serves(registry: Registry, context: Context) -> None:
    from stillroom_server.inference.embedder import EmbedOptions, StudentEmbedder

    DistillExecutor({}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    embedder = StudentEmbedder.load(registry.folder(registry.resolve("small")))
    vectors = embedder.embed(["the zymurgy house"], EmbedOptions()).vectors
    assert vectors.shape == (1, 12)
    np.testing.assert_allclose(np.linalg.norm(vectors), 1, atol=1e-5)


def test_a_lost_lease_publishes_nothing(registry: Registry, context: Context) -> None:
    context.lease_lost = True
    with pytest.raises(Aborted):
        DistillExecutor({}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        registry.resolve("small")


@pytest.mark.parametrize("phase", ["encode", "verify", "publish"])
def test_cancelling_publishes_nothing(registry: Registry, context: Context, phase: str) -> None:
    context.cancel_in = phase
    with pytest.raises(Cancelled):
        DistillExecutor({}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        registry.resolve("small")
    # and what it left behind does not stand in the way of the next try
    context.cancel_in = None
    DistillExecutor({}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    assert registry.resolve("small").version == 1


def test_the_report_is_the_same_everywhere(registry: Registry, context: Context) -> None:
    result = DistillExecutor({}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    report = result["report"]
    assert registry.resolve("small").metadata["report"] == report
    assert (report["recipe"], report["text_source"]) == ("static", "built_in")
    assert 0 < report["mean_cosine"] <= 1
    assert {entry["element_type"] for entry in report["quantizations"]} >= {"float16", "int8"}
    assert report["measured_speed"]["student_texts_per_second"] > 0
    folder = registry.folder(registry.resolve("small"))
    assert "## Fidelity" in (folder / "README.md").read_text()


def test_a_student_that_is_not_good_enough_is_not_registered(
    registry: Registry, context: Context
) -> None:
    asked = {**REQUEST, "minimum_fidelity": {"mean_cosine": 0.99999}}
    with pytest.raises(FidelityTooLow) as caught:
        DistillExecutor({}, registry).run(asked, context)  # type: ignore[arg-type]
    assert caught.value.report["mean_cosine"] < 0.99999
    with pytest.raises(NotFound):
        registry.resolve("small")


def test_a_student_can_be_quantized(registry: Registry, context: Context) -> None:
    executor = DistillExecutor({}, registry)
    executor.run(REQUEST, context)  # type: ignore[arg-type]
    asked = {
        "teacher": "models/small/versions/1",
        "name": "smaller",
        "recipe": {"quantize": {"element_type": "int8"}},
    }
    report = executor.run(asked, context)["report"]  # type: ignore[arg-type]
    assert registry.resolve("smaller").parents == ("models/small/versions/1",)
    assert (report["recipe"], report["element_type"]) == ("quantize", "int8")
    assert report["cosine_basis"] == "teacher"
    assert report["mean_cosine"] > 0.99
    assert list(dict.fromkeys(context.phases[-50:]))[-3:] == ["verify", "report", "publish"]


def test_a_teacher_is_not_quantized(registry: Registry, context: Context) -> None:
    asked = {**REQUEST, "recipe": {"quantize": {"element_type": "int8"}}}
    with pytest.raises(FailedPrecondition) as caught:
        DistillExecutor({}, registry).run(asked, context)  # type: ignore[arg-type]
    assert (caught.value.reason, caught.value.field) == ("NOT_A_STUDENT", "teacher")


def test_scores_on_given_data(registry: Registry, context: Context, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("5\ta house\ta house\n0\ta house\tthe zymurgy\n3\ta cat\ta house\n" * 4)
    asked = {
        **REQUEST,
        "evaluations": [{"name": "own", "kind": "similarity", "source": {"path": str(pairs)}}],
    }
    executor = DistillExecutor({"allow_root": [str(tmp_path)]}, registry)
    scores = executor.run(asked, context)["report"]["scores"]  # type: ignore[arg-type]
    assert [(score["name"], score["count"]) for score in scores] == [("own", 12)]
    assert -1 <= scores[0]["student"] <= 1


def test_bad_data_is_refused_before_any_work(
    registry: Registry, context: Context, tmp_path: Path
) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("5\ta house\ta house\nmany\ta house\tthe zymurgy\n")
    source = {"path": str(pairs)}
    asked = {
        **REQUEST,
        "evaluations": [{"name": "own", "kind": "similarity", "source": source}],
    }
    executor = DistillExecutor({"allow_root": [str(tmp_path)]}, registry)
    with pytest.raises(InvalidArgument, match="line 2") as caught:
        executor.run(asked, context)  # type: ignore[arg-type]
    assert caught.value.field == "evaluations[0]"
    assert context.phases == []


def test_a_student_is_no_teacher(registry: Registry, context: Context) -> None:
    executor = DistillExecutor({}, registry)
    executor.run(REQUEST, context)  # type: ignore[arg-type]
    with pytest.raises(FailedPrecondition) as caught:
        executor.run({**REQUEST, "teacher": "models/small/versions/1"}, context)  # type: ignore[arg-type]
    assert (caught.value.reason, caught.value.field) == ("NOT_A_TEACHER", "teacher")


def test_a_full_disk_is_said_plainly(
    registry: Registry, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from stillroom_server.distillation.export import student_folder

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(student_folder, "save_file", full)
    with pytest.raises(ResourceExhausted) as caught:
        DistillExecutor({}, registry).run(REQUEST, context)  # type: ignore[arg-type]
    assert caught.value.reason == "DISK_FULL"


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("teacher", {"teacher": None}),
        ("name", {"name": None}),
        ("name", {"name": "No Such Name"}),
        ("name", {"name": "small@3"}),
        ("recipe", {"recipe": {"alchemy": {}}}),
        ("static.dimensions", {"recipe": {"static": {"dimensions": 0}}}),
        ("static", {"recipe": {"static": [1]}}),
        ("recipe", {"recipe": {"static": {}, "auto": {}}}),
        ("auto.seed", {"recipe": {"auto": {"seed": -1}}}),
        ("corpus", {"recipe": {"static_tuned": {}}}),
        ("corpus", {"recipe": {"transformer": {}}}),
        ("quantize.element_type", {"recipe": {"quantize": {}}}),
        ("minimum_fidelity.mean_cosine", {"minimum_fidelity": {"mean_cosine": 2}}),
        ("budget.seconds", {"budget": {"seconds": 0}}),
        ("budget", {"budget": {"hope": 1}}),
    ],
)
def test_requests_are_checked(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        DistillRequest.from_json({**REQUEST, **changes})
    assert caught.value.field == field


def test_rows_are_computed_once(
    registry: Registry, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stillroom_server.distillation.recipes import rows

    executor = DistillExecutor({}, registry)
    first = executor.run(REQUEST, context)  # type: ignore[arg-type]

    def computed(*_: Any) -> Any:
        raise AssertionError("computed again")

    monkeypatch.setattr(rows, "encode_rows", computed)
    (tmp_path / "other").mkdir()
    second = executor.run({**REQUEST, "name": "twin"}, Context(tmp_path / "other"))  # type: ignore[arg-type]
    assert _weights(registry, "twin") == _weights(registry, "small")
    assert first["report"]["measured_speed"]["teacher_tokens_per_second"] > 0
    assert second["report"]["measured_speed"]["teacher_tokens_per_second"] is None


def _weights(registry: Registry, name: str) -> str:
    files = registry.resolve(name).files
    return next(file.digest for file in files if file.path == "model.safetensors")


def test_a_transformer_student_is_made_and_quantized(registry: Registry, context: Context) -> None:
    executor = DistillExecutor({"dtype": "float32"}, registry)
    texts = [f"the {word} house number {i}" for i in range(40) for word in ("red", "blue", "old")]
    asked: dict[str, Any] = {
        "teacher": "models/tiny-bert/versions/1",
        "name": "shallow",
        "recipe": {"transformer": {"layers": 1, "max_epochs": 1, "element_type": "float32"}},
        "corpus": {"texts": texts},
    }
    report = executor.run(asked, context)["report"]  # type: ignore[arg-type]
    assert (report["recipe"], report["element_type"]) == ("transformer", "float32")
    assert report["corpus"]["texts"] == len(texts)
    asked = {
        "teacher": "models/shallow/versions/1",
        "name": "shallower",
        "recipe": {"quantize": {"element_type": "int8"}},
    }
    report = executor.run(asked, context)["report"]  # type: ignore[arg-type]
    assert report["student_bytes"] < report["source_bytes"]
    assert report["mean_cosine"] > 0.99
    asked["recipe"]["quantize"]["vocabulary_clusters"] = 5
    with pytest.raises(InvalidArgument) as caught:
        executor.run(asked, context)  # type: ignore[arg-type]
    assert caught.value.field == "quantize.vocabulary_clusters"
