"""Files up and down, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2 as lro
from google.rpc import code_pb2

from client.fake_server import FakeServer, PatientAsyncTransport, PatientTransport, fail, status
from stillroom import AsyncClient, Client, archives, packages
from stillroom.errors import (
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unavailable,
)
from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as models
from stillroom.v1 import upload_service_pb2 as uploads

UPLOAD = "stillroom.v1.UploadService/Upload"
GET_UPLOAD = "stillroom.v1.UploadService/GetUpload"
IMPORT = "stillroom.v1.ModelService/ImportModel"
GET_VERSION = "stillroom.v1.ModelService/GetModelVersion"
DOWNLOAD = "stillroom.v1.ModelService/DownloadModelVersion"


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class UploadStore:
    """Uploads as the server keeps them; each stream breaks after so many chunks, once."""

    def __init__(self, server: FakeServer, *breaks: int, names: bool = True) -> None:
        self.bytes = b""
        self.headers: list[uploads.UploadHeader] = []
        self.complete = False
        self._breaks = list(breaks)
        self._names = names
        server.on(UPLOAD, self._upload)
        server.on(GET_UPLOAD, self._get)

    def _upload(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        header = next(requests).header
        self.headers.append(header)
        if self._names:
            context.send_initial_metadata((("stillroom-upload", "uploads/1"),))
        if not header.upload:
            self.bytes = b""
        assert header.offset == len(self.bytes)
        left = self._breaks.pop(0) if self._breaks else None
        for request in requests:
            if left == 0:
                fail(context, status(code_pb2.UNAVAILABLE, "broke"))
            assert len(request.chunk) <= 2 << 20
            self.bytes += request.chunk
            left = None if left is None else left - 1
        assert len(self.bytes) == header.total_bytes
        assert header.digest == sha256(self.bytes)
        self.complete = True
        return uploads.UploadResponse(upload=self._info())

    def _info(self) -> uploads.UploadInfo:
        return uploads.UploadInfo(
            name="uploads/1",
            committed_bytes=len(self.bytes),
            complete=self.complete,
            digest=sha256(self.bytes) if self.complete else "",
        )

    def _get(self, request: Any, context: Any) -> Any:
        assert request.name == "uploads/1"
        return uploads.GetUploadResponse(upload=self._info())


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.txt"
    path.write_bytes(bytes(range(256)) * 4096 * 5)  # 5 MiB
    return path


def test_a_file_goes_up_in_chunks(server: FakeServer, client: Client, big: Path) -> None:
    store = UploadStore(server)
    seen: list[int] = []
    info = client.upload(big, progress=lambda done, total: seen.append(done))
    assert (info.name, info.complete) == ("uploads/1", True)
    assert store.bytes == big.read_bytes()
    assert store.headers[0].filename == "big.txt"
    assert seen == [mib << 20 for mib in range(6)]


def test_a_broken_upload_goes_on_where_it_stood(
    server: FakeServer, client: Client, transport: PatientTransport, big: Path
) -> None:
    store = UploadStore(server, 2, 1)
    client.upload(big)
    assert store.bytes == big.read_bytes()
    assert [(h.upload, h.offset >> 20) for h in store.headers] == [
        ("", 0),
        ("uploads/1", 2),
        ("uploads/1", 3),
    ]
    assert len(transport.pauses) == 2


def test_without_a_name_it_starts_over(server: FakeServer, client: Client, big: Path) -> None:
    store = UploadStore(server, 2, names=False)
    client.upload(big)
    assert [(h.upload, h.offset) for h in store.headers] == [("", 0), ("", 0)]


def test_an_upload_that_never_works_ends(server: FakeServer, client: Client, big: Path) -> None:
    store = UploadStore(server, *[0] * 50)
    with pytest.raises(Unavailable):
        client.upload(big)
    assert len(store.headers) == 10  # it was reached, so it gets the time of a restart


def test_an_upload_is_resumed_by_name(server: FakeServer, client: Client, big: Path) -> None:
    store = UploadStore(server)
    store.bytes = big.read_bytes()[: 3 << 20]
    client.upload(big, resume="uploads/1")
    assert store.headers[0].offset == 3 << 20
    client.upload(big, resume="uploads/1")  # complete already: nothing is sent
    assert len(store.headers) == 1
    other = big.with_name("other")
    other.write_text("x")
    with pytest.raises(InvalidArgument) as caught:
        client.upload(other, resume="uploads/1")
    assert caught.value.field == "resume"


async def test_the_asyncio_client_uploads_too(server: FakeServer, big: Path) -> None:
    store = UploadStore(server, 2)
    content = big.read_bytes()  # noqa: ASYNC240 - nothing else runs
    async with AsyncClient(transport=PatientAsyncTransport(server.target)) as client:
        await client.upload(big)
    assert store.bytes == content
    assert len(store.headers) == 2


def test_a_file_that_shrinks_is_told(big: Path) -> None:
    payload = archives.payload(big)
    big.write_bytes(b"short")
    with pytest.raises(FailedPrecondition, match="shorter"):
        payload.digest()


def test_what_cannot_go_up(client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    for name in ("missing", "empty", "folder"):
        with pytest.raises(InvalidArgument) as caught:
            client.upload(tmp_path / name)
        assert caught.value.field == "path"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "secret").write_text("no")
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"w" * 1000)
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "1_Pooling" / "config.json").write_text("{...}")
    (folder / ("long-" * 30)).write_text("name")
    blob = tmp_path / "blob"
    blob.write_text("linked")
    (folder / "tokenizer.json").symlink_to(blob)
    (folder / "loop").symlink_to(folder)
    return folder


def test_a_model_folder_is_a_plain_tar(model: Path) -> None:
    payload = archives.model_folder(model)
    data = b"".join(payload.chunks())
    assert len(data) == payload.size
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = {member.name: member for member in tar.getmembers()}
        assert names.keys() == {
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "1_Pooling/config.json",
            "long-" * 30,
        }
        assert all(member.isreg() and member.mtime == 0 for member in names.values())
        linked = tar.extractfile("tokenizer.json")
        assert linked is not None
        assert linked.read() == b"linked"
    for offset in (0, 1, 511, 512, 1500, len(data) - 1, len(data)):
        assert b"".join(payload.chunks(offset)) == data[offset:]


def test_without_safetensors_the_server_decides(model: Path) -> None:
    (model / "model.safetensors").unlink()
    names = {part.path.name for part in archives.model_folder(model).parts if part.path}
    assert "pytorch_model.bin" in names


def test_a_local_model_is_uploaded_and_imported(
    server: FakeServer, client: Client, model: Path
) -> None:
    store = UploadStore(server)
    server.answer(IMPORT, lro.Operation(name="operations/1"))
    assert client.import_model("m", path=model, kind="student").name == "operations/1"
    request = server.requests[-1]
    assert isinstance(request, models.ImportModelRequest)
    assert request.source.upload == "uploads/1"
    assert request.kind == model_pb2.MODEL_KIND_STUDENT
    assert store.headers[0].format == uploads.UPLOAD_FORMAT_TAR
    assert store.headers[0].filename == "model.tar"


@pytest.mark.parametrize(
    ("sources", "field"),
    [
        ({}, "source"),
        ({"path": ".", "hub": "a/b"}, "hub"),
        ({"hub": "ab"}, "hub"),
        ({"hub": "a/b/c"}, "hub"),
        ({"hub": "a/b@"}, "hub"),
        ({"hub": "a/b@1", "revision": "2"}, "revision"),
        ({"upload": "uploads/1", "revision": "2"}, "revision"),
        ({"path": "/nonexistent"}, "path"),
        ({"package": "no package"}, "package"),
        ({"package": "../etc"}, "package"),
        ({"upload": "uploads/1", "kind": "poet"}, "kind"),
    ],
)
def test_bad_sources_name_the_field(client: Client, sources: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        client.import_model("m", **sources)
    assert caught.value.field == field


def test_a_folder_that_is_no_model(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"config\.json"):
        client.import_model("m", path=tmp_path)


def test_a_package_is_found_but_never_imported(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "some_model_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.syspath_prepend(str(package.parent))
    with pytest.raises(NotFound, match="holds no model"):
        packages.model_in_package("some-model-package")
    model.rename(package / "weights")
    assert packages.model_in_package("some-model-package") == package / "weights"
    assert "some_model_package" not in sys.modules
    (package / "second").mkdir()
    (package / "second" / "config.json").write_text("{}")
    (package / "second" / "model.safetensors").write_text("w")
    with pytest.raises(InvalidArgument, match="several models"):
        packages.model_in_package("some_model_package")
    with pytest.raises(NotFound, match="pip install"):
        packages.model_in_package("some-model-package-that-is-not")


FILES = {"config.json": b"{}", "empty": b"", "onnx/model.onnx": bytes(range(256)) * 64}


class Version:
    """A version to download, in chunks of 4,096 bytes; each stream breaks after so many, once."""

    def __init__(
        self, server: FakeServer, *breaks: int, files: dict[str, bytes] | None = None
    ) -> None:
        self.files = dict(FILES if files is None else files)
        self.requests: list[models.DownloadModelVersionRequest] = []
        self._breaks = list(breaks)
        self.message = model_pb2.ModelVersion(name="models/m/versions/3")
        for path, data in self.files.items():
            self.message.files.add(path=path, digest=sha256(data), size_bytes=len(data))
        server.answer(GET_VERSION, models.GetModelVersionResponse(model_version=self.message))
        server.on(DOWNLOAD, self._download)

    def _download(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        assert request.name == "models/m/versions/3"  # never an alias that could move meanwhile
        self.requests.append(request)
        left = self._breaks.pop(0) if self._breaks else None
        yield models.DownloadModelVersionResponse(model_version=self.message)
        for index, path in enumerate(request.paths):
            file = next(file for file in self.message.files if file.path == path)
            yield models.DownloadModelVersionResponse(file=file)
            data = self.files[path][request.offset if index == 0 else 0 :]
            for start in range(0, len(data), 4096):
                if left == 0:
                    fail(context, status(code_pb2.UNAVAILABLE, "broke"))
                left = None if left is None else left - 1
                chunk = data[start : start + 4096]
                yield models.DownloadModelVersionResponse(chunk=chunk)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("breaks", [(), (0,), (2, 1, 0, 1)])
def test_a_version_comes_down_whole(
    server: FakeServer, client: Client, tmp_path: Path, breaks: tuple[int, ...]
) -> None:
    version = Version(server, *breaks)
    target = tmp_path / "deep" / "er"
    assert client.download("m@production", target).name == "models/m/versions/3"
    assert contents(target) == FILES
    assert [path.name for path in target.parent.iterdir()] == ["er"]
    assert len(version.requests) == len(breaks) + 1
    if len(breaks) > 1:
        assert any(request.offset for request in version.requests)


async def test_the_asyncio_client_downloads_too(server: FakeServer, tmp_path: Path) -> None:
    Version(server, 2)
    (tmp_path / "empty").mkdir()
    async with AsyncClient(transport=PatientAsyncTransport(server.target)) as client:
        await client.download("m", tmp_path / "empty")
    assert contents(tmp_path / "empty") == FILES


def test_damaged_bytes_leave_nothing(server: FakeServer, client: Client, tmp_path: Path) -> None:
    version = Version(server)
    version.files["config.json"] = b"[]"
    with pytest.raises(DataLoss) as caught:
        client.download("m", tmp_path / "new")
    assert caught.value.metadata == {"path": "config.json"}
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_never_ends_well_leaves_nothing(
    server: FakeServer, client: Client, tmp_path: Path
) -> None:
    Version(server, *[0] * 50)
    with pytest.raises(Unavailable):
        client.download("m", tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    ["../evil", "/etc/evil", "a/../../evil", "a//b", "./a", "", "c:evil", "..\\evil", "a\0b"],
)
def test_paths_that_leave_the_folder_are_refused(
    server: FakeServer, client: Client, tmp_path: Path, path: str
) -> None:
    Version(server, files={path: b"evil"})
    with pytest.raises(Internal) as caught:
        client.download("m", tmp_path / "new")
    assert caught.value.reason == "UNSAFE_PATH"
    assert list(tmp_path.iterdir()) == []


def test_files_that_nobody_announced_are_refused(
    server: FakeServer, client: Client, tmp_path: Path
) -> None:
    Version(server)

    def behavior(request: Any, context: Any) -> Iterator[Any]:
        yield models.DownloadModelVersionResponse(file=model_pb2.ModelFile(path="other"))

    server.on(DOWNLOAD, behavior)
    with pytest.raises(Internal, match="out of turn"):
        client.download("m", tmp_path / "new")
    server.on(DOWNLOAD, lambda request, context: iter(()))
    with pytest.raises(Internal) as caught:
        client.download("m", tmp_path / "new")
    assert caught.value.reason == "NO_PROGRESS"


def test_a_folder_with_something_in_it_is_left_alone(
    server: FakeServer, client: Client, tmp_path: Path
) -> None:
    Version(server)
    (tmp_path / "mine").write_text("mine")
    for target in (tmp_path, tmp_path / "mine"):
        with pytest.raises(AlreadyExists) as caught:
            client.download("m", target)
        assert caught.value.field == "folder"
    assert contents(tmp_path) == {"mine": b"mine"}
    assert server.calls == []
    with pytest.raises((FailedPrecondition, PermissionDenied)):
        client.download("m", tmp_path / "mine" / "below-a-file")
