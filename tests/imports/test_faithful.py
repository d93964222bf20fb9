"""Copies of another server's version: the same, or nothing, whatever the other server says."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distillation.export.tiny import TEXTS, write_tiny
from imports.folders import teacher, transformer
from imports.importing import Context, at, run
from imports.test_archive import pack
from imports.test_transformer_students import write as write_transformer
from inference.classifier.folders import write_tiny as write_classifier

from stillroom_registry.errors import (
    Aborted,
    Cancelled,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    StillroomError,
)
from stillroom_registry.manifest import manifest_digest
from stillroom_registry.registry import File, ModelVersion, Registry
from stillroom_server.classification.export.folder import finish
from stillroom_server.distillation.export.manifest import reseal
from stillroom_server.distillation.export.onnx_graph import export_onnx
from stillroom_server.imports.executor import ImportExecutor
from stillroom_server.imports.peers import Parent, PeerVersion, whole_numbers
from stillroom_server.imports.settings import ImportSettings
from stillroom_server.inference.embedders import load_embedder
from stillroom_server.inference.options import DEFAULT_OPTIONS


def told_of(version: ModelVersion, **changes: Any) -> PeerVersion:
    """What an honest server tells."""
    told = PeerVersion(
        peer="other.example:50051",
        model_version=version.name,
        kind=version.kind.value,
        digest=version.digest,
        create_time=version.create_time.isoformat(),
        files=version.files,
        metadata={**version.metadata, "recipe": "static", "operation": "operations/theirs"},
        parents=(Parent("models/t/versions/1", ""),),
        relation="distill",
    )
    return dataclasses.replace(told, **changes)


def files_of(folder: Path) -> tuple[File, ...]:
    return tuple(
        File(
            path.relative_to(folder).as_posix(),
            f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",
            path.stat().st_size,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )


def made_by(root: Path, make: Callable[[Path], Any]) -> tuple[ModelVersion, Path]:
    """A version of another server, and a folder with its files."""
    context = Context(root / "work")
    context.workspace.mkdir(parents=True)
    (root / "models").mkdir()
    registry = Registry.open(root / "data")
    version, _ = run(registry, context, at(context, make), name="mini")
    folder = Path(shutil.copytree(registry.folder(version), root / "folder"))
    registry.close()
    return version, folder


class Room:
    """A version of another server, and the server that it is to be copied to."""

    def __init__(self, root: Path, registry: Registry, version: ModelVersion, made: Path) -> None:
        self.root = root
        self.version = version
        self.folder = Path(shutil.copytree(made, root / "folder"))
        self.registry = registry

    @classmethod
    def of(cls, root: Path, registry: Registry, make: Callable[[Path], Any]) -> Room:
        return cls(root, registry, *made_by(root / "other", make))

    def copy(
        self, context: Context, told: PeerVersion | None = None, name: str = "m", **settings: Any
    ) -> ModelVersion:
        tar = pack(self.folder, self.root / "upload.tar")
        request = {
            "name": name,
            "source": {"upload": "uploads/x", "file": str(tar)},
            "copy_of": (told or told_of(self.version)).to_json(),
            "description": "about it",
        }
        executor = ImportExecutor(ImportSettings(**settings), self.registry)
        executor.run(request, context)  # type: ignore[arg-type]
        assert list(context.workspace.iterdir()) == []
        return self.registry.resolve(context.result["model_version"])

    def refused(self, context: Context, told: PeerVersion | None = None) -> StillroomError:
        """The error of a copy that nothing comes of."""
        with pytest.raises(StillroomError) as caught:
            self.copy(context, told)
        with pytest.raises(NotFound):
            self.registry.get_model("m")
        assert list(self.registry.blobs.digests()) == []
        return caught.value

    def rewritten(self, path: str, data: bytes) -> PeerVersion:
        """Other bytes in a file, and a manifest that says so."""
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(data)
        files = files_of(self.folder)
        return told_of(self.version, files=files, digest=manifest_digest(files))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelVersion, Path]:
    return made_by(tmp_path_factory.mktemp("other"), write_tiny)


@pytest.fixture
def student(tmp_path: Path, registry: Registry, made: tuple[ModelVersion, Path]) -> Room:
    return Room(tmp_path, registry, *made)


def finished_classifier(folder: Path) -> None:
    write_classifier(folder.with_name("made"))
    folder.rmdir()
    folder.with_name("made").rename(folder)
    finish(folder, report_markdown="## Report", report_html="<p>")


def own_transformer(folder: Path) -> None:
    folder.rmdir()
    write_transformer(folder)


@pytest.mark.parametrize(
    "make", [teacher, transformer, write_tiny, finished_classifier, own_transformer]
)
def test_every_kind_is_the_same(
    tmp_path: Path, registry: Registry, context: Context, make: Any
) -> None:
    room = Room.of(tmp_path, registry, make)
    if make is finished_classifier:  # an import leaves out what its training wrote for people
        told = room.rewritten("report.html", b"<p>")
    else:
        told = told_of(room.version)
    copied = room.copy(context, told)
    assert (copied.digest, copied.kind, copied.files) == (
        told.digest,
        room.version.kind,
        told.files,
    )
    assert context.result["skipped_files"] == []
    origin = copied.metadata["origin"]["peer"]
    assert origin["origin"] == room.version.metadata["origin"]
    assert {key: value for key, value in copied.metadata.items() if key != "origin"} == {
        key: value for key, value in told.metadata.items() if key not in ("origin", "operation")
    }


def test_a_student_serves_as_it_did(student: Room, context: Context) -> None:
    copied = student.copy(context)
    vectors = [
        np.asarray(load_embedder(folder).embed(list(TEXTS), DEFAULT_OPTIONS).vectors)
        for folder in (student.folder, student.registry.folder(copied))
    ]
    np.testing.assert_array_equal(*vectors)
    origin = copied.metadata["origin"]["peer"]
    assert origin["address"] == "other.example:50051"
    assert (origin["model_version"], origin["relation"]) == ("models/mini/versions/1", "distill")
    assert origin["parents"] == [{"model_version": "models/t/versions/1"}]
    assert copied.parents == ()
    assert student.registry.get_model("m").description == "about it"


def test_parents_are_those_with_their_digest(
    student: Room, context: Context, tmp_path: Path
) -> None:
    folder = teacher(tmp_path / "teacher")
    registry = student.registry
    near = registry.publish("t", "teacher", folder)  # type: ignore[arg-type]
    (folder / "more.json").write_text("{}")
    for name in ("u", "t"):
        registry.publish(name, "teacher", folder)  # type: ignore[arg-type]
    digest = registry.resolve("t@2").digest
    registry.delete_version("t", 1)
    parents = (
        Parent("models/t/versions/7", digest),  # of that name first
        Parent("models/gone/versions/1", near.digest),
        Parent("models/t/versions/2", "sha256:" + "0" * 64),  # another of that name
    )
    copied = student.copy(context, told_of(student.version, parents=parents))
    assert copied.parents == ("models/t/versions/2", "models/t/versions/1")
    here = [each.get("here") for each in copied.metadata["origin"]["peer"]["parents"]]
    assert here == ["models/t/versions/2", "models/t/versions/1", None]
    edges = {(edge.parent, edge.relation) for edge in registry.lineage(copied.name).edges}
    assert edges == {("models/t/versions/2", "distill"), ("models/t/versions/1", "distill")}


def test_the_same_is_there_once(student: Room, context: Context) -> None:
    first = student.copy(context)
    assert student.copy(context) == first
    assert student.copy(context, name="other").name == "models/other/versions/1"
    student.registry.delete_version("m", 1)
    assert student.copy(context).name == "models/m/versions/2"


def test_one_that_was_first_is_the_answer(
    student: Room, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = student.registry.publish

    def late(*args: Any, **more: Any) -> ModelVersion:
        monkeypatch.undo()
        student.registry.publish("m", student.version.kind, student.folder)
        return publish(*args, **more)

    monkeypatch.setattr(student.registry, "publish", late)
    assert student.copy(context).name == "models/m/versions/1"
    assert len(student.registry.list_versions("m").items) == 1


def test_bytes_that_differ_are_no_copy(student: Room, context: Context) -> None:
    weights = student.folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    error = student.refused(context)
    assert (error.reason, error.metadata) == ("COPY_MISMATCH", {"file": "model.safetensors"})
    weights.unlink()
    assert student.refused(context).metadata == {"file": "model.safetensors"}


def test_a_file_more_is_no_copy(student: Room, context: Context) -> None:
    (student.folder / "more.json").write_text("{}")
    error = student.refused(context)
    assert (error.reason, error.field) == ("COPY_MISMATCH", "source.upload")


LIES: dict[str, tuple[Callable[[Room], PeerVersion], str]] = {
    "digest": (lambda r: told_of(r.version, digest="sha256:" + "0" * 64), "COPY_MISMATCH"),
    "kind": (lambda r: told_of(r.version, kind="teacher"), "COPY_MISMATCH"),
    "no kind": (lambda r: told_of(r.version, kind="pickle"), "BAD_KIND"),
    "dimensions": (
        lambda r: told_of(r.version, metadata={**r.version.metadata, "dimensions": 7}),
        "COPY_MISMATCH",
    ),
    "pickle": (lambda r: r.rewritten("pytorch_model.bin", b"\x80\x02}."), "COPY_REFUSED"),
    "disguised": (lambda r: r.rewritten("vocab.txt", b"\x80\x02}."), "UNSAFE_FILE"),
    "code": (lambda r: r.rewritten("modeling.py", b"import os"), "COPY_REFUSED"),
    "hidden": (lambda r: r.rewritten(".git/config", b""), "COPY_REFUSED"),
    "weights": (lambda r: r.rewritten("model.safetensors", b"\xff" * 64), "WEIGHTS_CORRUPT"),
    "unused": (
        lambda r: r.rewritten("x.safetensors", (r.folder / "model.safetensors").read_bytes()),
        "COPY_REFUSED",
    ),
    "manifest": (lambda r: r.rewritten("README.md", b"another card"), "MANIFEST_MISMATCH"),
    "sealed": (lambda r: r.rewritten("stillroom.json", b"{}"), "COPY_REFUSED"),
    "tokenizer": (lambda r: r.rewritten("tokenizer.json", b"{}"), "TOKENIZER_PROBE_FAILED"),
    "path": (lambda r: told_of(r.version, files=(File("../x", "sha256:", 1),)), "UNSAFE_FILE"),
    "twice": (lambda r: told_of(r.version, files=r.version.files * 2), "COPY_INVALID"),
    "empty": (lambda r: told_of(r.version, files=()), "COPY_INVALID"),
    "size": (
        lambda r: told_of(r.version, files=(File("a.json", "sha256:" + "0" * 64, -1),)),
        "COPY_INVALID",
    ),
    "large": (
        lambda r: told_of(r.version, files=(File("a.json", "sha256:" + "0" * 64, 10**12),)),
        "IMPORT_TOO_LARGE",
    ),
    "metadata": (
        lambda r: told_of(r.version, metadata={"x": "y" * (1 << 20)}),
        "COPY_INVALID",
    ),
    "deep": (lambda r: told_of(r.version, metadata={"x": nested(40)}), "COPY_INVALID"),
    "name": (lambda r: told_of(r.version, model_version="mini@1"), "COPY_INVALID"),
    "peer": (lambda r: told_of(r.version, peer="a\nb"), "COPY_INVALID"),
    "relation": (lambda r: told_of(r.version, relation="stolen"), "COPY_INVALID"),
    "parents": (
        lambda r: told_of(r.version, parents=(Parent("models/t/versions/1", ""),) * 101),
        "COPY_INVALID",
    ),
    "parent": (lambda r: told_of(r.version, parents=(Parent("t", ""),)), "COPY_INVALID"),
    "parent's digest": (
        lambda r: told_of(r.version, parents=(Parent("models/t/versions/1", "x"),)),
        "COPY_INVALID",
    ),
}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_no_copy(student: Room, context: Context, lie: str) -> None:
    tell, reason = LIES[lie]
    assert student.refused(context, tell(student)).reason == reason


def test_a_graph_that_computes_something_else_is_refused(
    tmp_path: Path, student: Room, context: Context
) -> None:
    """Its files are sealed: whoever lies about the graph lies in stillroom.json, too."""
    write_tiny(tmp_path / "other-student", normalize=False)
    export_onnx(tmp_path / "other-student")
    graph = (tmp_path / "other-student/onnx/model.onnx").read_bytes()
    (student.folder / "onnx/model.onnx").write_bytes(graph)
    reseal(student.folder)
    files = files_of(student.folder)
    told = told_of(student.version, files=files, digest=manifest_digest(files))
    assert student.refused(context, told).reason == "PARITY_FAILED"


def test_a_teachers_graph_is_refused(tmp_path: Path, registry: Registry, context: Context) -> None:
    room = Room.of(tmp_path, registry, teacher)
    told = room.rewritten("onnx/model.onnx", b"graph")
    assert room.refused(context, told).reason == "COPY_REFUSED"


def test_another_source_is_refused(student: Room, context: Context) -> None:
    request = {"name": "m", "source": {"path": "/x"}, "copy_of": told_of(student.version).to_json()}
    with pytest.raises(InvalidArgument) as caught:
        ImportExecutor(ImportSettings(), student.registry).run(request, context)  # type: ignore[arg-type]
    assert caught.value.reason == "SOURCE_REQUIRED"


def test_kind_of_an_existing_model(student: Room, context: Context, tmp_path: Path) -> None:
    student.registry.publish("m", "teacher", teacher(tmp_path / "t"))  # type: ignore[arg-type]
    with pytest.raises(FailedPrecondition) as caught:
        student.copy(context)
    assert caught.value.reason == "KIND_MISMATCH"
    assert len(student.registry.list_versions("m").items) == 1


@pytest.mark.parametrize("phase", ["fetch", "verify", "convert"])
def test_it_stops_when_asked(student: Room, context: Context, phase: str) -> None:
    context.cancel_in = phase
    with pytest.raises(Cancelled):
        student.copy(context)
    assert student.registry.list_models().items == ()


def test_an_attempt_that_lost_its_lease_publishes_nothing(student: Room, context: Context) -> None:
    context.lost = True
    with pytest.raises(Aborted):
        student.copy(context)
    assert student.registry.list_models().items == ()


def test_whole_numbers() -> None:
    value = {"a": 256.0, "b": [0.5, 1e300, -0.0, True, None], "c": {"d": 2.0**53}}
    found = whole_numbers(value)
    assert found == value
    assert type(found["a"]) is int
    assert type(found["b"][1]) is float
    assert type(found["c"]["d"]) is float
    assert found["b"][3] is True
