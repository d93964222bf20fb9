from __future__ import annotations

import hashlib
from collections.abc import Iterator

import grpc
import pytest
from serving import Details, Serving

from stillroom.v1 import upload_service_pb2 as pb
from stillroom.v1.upload_service_pb2_grpc import UploadServiceStub

DATA = bytes(range(256)) * 100


@pytest.fixture(scope="module")
def stub(server: Serving) -> UploadServiceStub:
    return UploadServiceStub(server.channel)


def stream(header: pb.UploadHeader, data: bytes) -> Iterator[pb.UploadRequest]:
    yield pb.UploadRequest(header=header)
    for start in range(0, len(data), 10_000):
        yield pb.UploadRequest(chunk=data[start : start + 10_000])


def refused(stub: UploadServiceStub, messages: list[pb.UploadRequest]) -> Details:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Upload(iter(messages))
    return Details(caught.value)


def test_an_upload_is_whole_or_refused(stub: UploadServiceStub) -> None:
    digest = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    header = pb.UploadHeader(total_bytes=len(DATA), digest=digest, filename="x.txt")
    info = stub.Upload(stream(header, DATA)).upload
    assert (info.complete, info.committed_bytes, info.digest) == (True, len(DATA), digest)
    assert stub.GetUpload(pb.GetUploadRequest(name=info.name)).upload == info
    stub.DeleteUpload(pb.DeleteUploadRequest(name=info.name))
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetUpload(pb.GetUploadRequest(name=info.name))
    assert Details(caught.value).code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("header", "data", "field"),
    [
        (pb.UploadHeader(total_bytes=0), b"", "header.total_bytes"),
        (pb.UploadHeader(total_bytes=10, offset=3), b"x", "header.offset"),
        (pb.UploadHeader(total_bytes=5, digest="md5:1"), b"hello", "header.digest"),
        (
            pb.UploadHeader(total_bytes=5, digest="sha256:" + "0" * 64),
            *(b"hello", "header.digest"),
        ),
        (pb.UploadHeader(total_bytes=6), b"hello", "header.total_bytes"),
        (pb.UploadHeader(total_bytes=4), b"hello", "header.total_bytes"),
        (pb.UploadHeader(total_bytes=4, format=9), b"hell", "header.format"),  # type: ignore[arg-type]
        (pb.UploadHeader(total_bytes=4, filename="../x"), b"hell", "header.filename"),
        (pb.UploadHeader(total_bytes=4, upload="uploads/../x"), b"hell", "header.upload"),
    ],
)
def test_bad_headers(
    stub: UploadServiceStub, header: pb.UploadHeader, data: bytes, field: str
) -> None:
    details = refused(stub, list(stream(header, data)))
    assert (details.code.name, details.field) == ("INVALID_ARGUMENT", field)


def test_the_order_of_messages_is_checked(stub: UploadServiceStub) -> None:
    assert refused(stub, []).info.reason == "HEADER_EXPECTED"
    assert refused(stub, [pb.UploadRequest(chunk=b"x")]).info.reason == "HEADER_EXPECTED"
    header = pb.UploadRequest(header=pb.UploadHeader(total_bytes=4))
    assert refused(stub, [header, header]).info.reason == "CHUNK_EXPECTED"


def test_a_broken_stream_is_resumed(stub: UploadServiceStub) -> None:
    digest = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    header = pb.UploadHeader(total_bytes=len(DATA), digest=digest)
    call = stub.Upload.future(iter([*list(stream(header, DATA))[:2], pb.UploadRequest()]))
    name = dict(call.initial_metadata())["stillroom-upload"]
    with pytest.raises(grpc.RpcError):
        call.result()
    state = stub.GetUpload(pb.GetUploadRequest(name=name)).upload
    assert (state.complete, state.committed_bytes) == (False, 10_000)
    header.upload, header.offset = name, state.committed_bytes
    finished = stub.Upload(stream(header, DATA[state.committed_bytes :])).upload
    assert (finished.name, finished.complete, finished.digest) == (name, True, digest)
