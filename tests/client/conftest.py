from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest

from client.fake_server import (
    CLASSIFY,
    CLASSIFY_STREAM,
    EMBED,
    EMBED_STREAM,
    EVALUATE,
    TRAIN,
    FakeServer,
    PatientTransport,
    fake_server,
)
from client.fake_server import classify as good_classify
from client.fake_server import classify_stream as good_classify_stream
from client.fake_server import embed as good_embed
from client.fake_server import embed_stream as good_stream
from client.test_operations import DISTILL, operation
from stillroom import Client
from stillroom.cli import main
from stillroom.v1 import model_pb2
from stillroom.v1 import model_service_pb2 as models
from stillroom.v1 import upload_service_pb2 as uploads

UPLOAD = "stillroom.v1.UploadService/Upload"
DOWNLOAD = "stillroom.v1.ModelService/DownloadModelVersion"
GET_VERSION = "stillroom.v1.ModelService/GetModelVersion"
CONTENT = b"<svg/>" * 1000


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TARGET", "TOKEN", "ROOT_CERTIFICATES"):
        monkeypatch.delenv(f"STILLROOM_{name}", raising=False)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A fake that embeds and classifies; everything else is for the test to script."""
    with fake_server() as fake:
        fake.on(EMBED, good_embed)
        fake.on(EMBED_STREAM, good_stream)
        fake.on(CLASSIFY, good_classify)
        fake.on(CLASSIFY_STREAM, good_classify_stream)
        yield fake


@pytest.fixture
def transport(server: FakeServer) -> PatientTransport:
    return PatientTransport(server.target)


@pytest.fixture
def client(transport: PatientTransport) -> Iterator[Client]:
    with Client(transport=transport) as made:
        yield made


class Ran:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(
    server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Runs ``stillroom`` with these arguments in this process."""
    monkeypatch.setenv("STILLROOM_TARGET", server.target)
    monkeypatch.setenv("COLUMNS", "200")

    def go(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        captured = capsys.readouterr()
        return Ran(int(left.value.code or 0), captured.out, captured.err)

    return go


@pytest.fixture
def received(server: FakeServer) -> list[bytes]:
    """The files that were uploaded; each is called ``uploads/`` and its number from 1."""
    files: list[bytes] = []

    def upload(requests: Iterator[Any], context: Any) -> Any:
        next(requests)
        files.append(b"".join(request.chunk for request in requests))
        return uploads.UploadResponse(upload=uploads.UploadInfo(name=f"uploads/{len(files)}"))

    server.on(UPLOAD, upload)
    for starts in (DISTILL, TRAIN, EVALUATE):
        server.answer(starts, operation())
    return files


@pytest.fixture
def version(server: FakeServer) -> model_pb2.ModelVersion:
    """A version with one file, which comes in two chunks."""
    digest = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    made = model_pb2.ModelVersion(name="models/s/versions/1")
    made.files.add(path="fidelity.svg", digest=digest, size_bytes=len(CONTENT))
    server.answer(GET_VERSION, models.GetModelVersionResponse(model_version=made))

    def stream(request: Any, context: Any) -> Iterator[Any]:
        assert (request.name, list(request.paths)) == (made.name, ["fidelity.svg"])
        yield models.DownloadModelVersionResponse(model_version=made)
        yield models.DownloadModelVersionResponse(file=made.files[0])
        yield models.DownloadModelVersionResponse(chunk=CONTENT[:2000])
        yield models.DownloadModelVersionResponse(chunk=CONTENT[2000:])

    server.on(DOWNLOAD, stream)
    return made
