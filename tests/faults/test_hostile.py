"""Hostile messages to every RPC: an answer or a status with its ErrorInfo, never INTERNAL.

``STILLROOM_FUZZ`` is how many messages are drawn (default 200), besides a few for every method;
``STILLROOM_SEED`` which ones (default 0).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.longrunning.operations_pb2_grpc import OperationsStub
from google.protobuf.descriptor import MethodDescriptor
from rpc.conftest import publish_models
from serving import Details, Serving, serving

from faults.hostile import Hostile, Known, forged_token, smaller
from stillroom.v1 import embedding_service_pb2, model_service_pb2, upload_service_pb2
from stillroom.v1.embedding_service_pb2_grpc import EmbeddingServiceStub
from stillroom.v1.model_service_pb2_grpc import ModelServiceStub
from stillroom.v1.upload_service_pb2_grpc import UploadServiceStub
from stillroom_server import parts
from stillroom_server.operations.supervisor import RunnerSupervisor
from stillroom_server.rpc import reflection
from stillroom_server.rpc.services import SERVICES

EXAMPLES = int(os.environ.get("STILLROOM_FUZZ", "200"))
SEED = int(os.environ.get("STILLROOM_SEED", "0"))
IN_FLIGHT = 32
DEADLINE = 60.0  # seconds; nothing that is asked here takes one
METHODS = [m for s in (*SERVICES, reflection.DESCRIPTOR) for m in s.methods]
UNARY = [m for m in METHODS if not m.client_streaming and not m.server_streaming]
STREAMS = [m for m in METHODS if m.client_streaming or m.server_streaming]
NEVER = {
    *(grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS),
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


class NoRunner(RunnerSupervisor):
    """Operations are queued, and nobody executes them: this is about requests."""

    async def start(self) -> None:
        """Does nothing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    data, scratch = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("scratch")
    publish_models(data, scratch)
    limits = {"max_texts": 64, "max_text_bytes": 10_000, "max_request_bytes": 100_000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "RunnerSupervisor", NoRunner)
        with serving(data, max_uploads_bytes=1_000_000, **limits) as running:
            yield running


@pytest.fixture(scope="module")
def known(server: Serving) -> Known:
    """Names that are there: models, an upload, an operation that has ended."""
    stub = UploadServiceStub(server.channel)
    header = upload_service_pb2.UploadHeader(total_bytes=2)
    sent = [{"header": header}, {"chunk": b"ab"}]
    upload = stub.Upload(upload_service_pb2.UploadRequest(**part) for part in sent).upload.name
    request = model_service_pb2.ImportModelRequest(name="x", source={"upload": upload})
    operation = ModelServiceStub(server.channel).ImportModel(request).name
    OperationsStub(server.channel).CancelOperation(
        operations_pb2.CancelOperationRequest(name=operation)
    )
    models = ["s", "s@1", "models/s", "models/s/versions/2", "t", "s@production"]
    return Known(models, [upload], [operation])


def start(server: Serving, method: MethodDescriptor, items: list[bytes]) -> Any:
    """The call, under way: a future for unary methods, else an iterator of answers."""
    kind = "stream" if method.client_streaming else "unary"
    answers = "stream" if method.server_streaming else "unary"
    path = f"/{method.containing_service.full_name}/{method.name}"
    stub: Any = getattr(server.channel, f"{kind}_{answers}")(path)
    request = iter(items) if method.client_streaming else items[0]
    return (stub if method.server_streaming else stub.future)(request, timeout=DEADLINE)


def finish(method: MethodDescriptor, call: Any) -> list[bytes]:
    """Its answers, or [] after a status that it may have; AssertionError after any other."""
    try:
        return list(call) if method.server_streaming else [call.result()]
    except grpc.RpcError as error:
        details = Details(error)
        assert details.code not in NEVER, f"{details.code}: {details.message}"
        assert details.info.reason
        return []


def check(server: Serving, method: MethodDescriptor, items: list[bytes], call: Any) -> None:
    """Whether the call ends well; if not, what is the least that brings it about."""
    try:
        answers = finish(method, call)
        if method.name == "EmbedStream":
            assert len(answers) == len(items)
            for data in answers:
                answer = embedding_service_pb2.EmbedStreamResponse.FromString(data)
                assert answer.WhichOneof("result")
                if answer.HasField("error"):
                    details = Details(answer.error)
                    assert details.code not in NEVER, f"{details.code}: {details.message}"
    except AssertionError as error:
        least = [smaller(item, lambda d: fails(server, method, [d])) for item in items]
        shown = [item[:500] for item in least]
        pytest.fail(f"{method.full_name} {shown}: {error}")


def fails(server: Serving, method: MethodDescriptor, items: list[bytes]) -> bool:
    try:
        finish(method, start(server, method, items))
    except AssertionError:
        return True
    return False


def send(server: Serving, method: MethodDescriptor, items: list[bytes]) -> None:
    check(server, method, items, start(server, method, items))


def usual(server: Serving) -> None:
    """A request that must work whatever came before it."""
    request = embedding_service_pb2.EmbedRequest(model="s", texts=["my card"])
    answer = EmbeddingServiceStub(server.channel).Embed(request, timeout=DEADLINE)
    assert answer.embeddings.token_counts[0] == 2


def safe(method: MethodDescriptor, known: Known) -> Known:
    """Names for this method: deleting what the others use would make their tests easy."""
    if method.name.startswith("Delete"):
        return Known(["gone"], ["uploads/" + "b" * 26], ["operations/" + "1" * 24])
    return known


@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("methods", [UNARY, STREAMS], ids=["unary", "streams"])
def test_drawn_messages(server: Serving, known: Known, methods: list[MethodDescriptor]) -> None:
    choose = Random(SEED)
    hostile = Hostile(choose)
    examples = EXAMPLES if methods is UNARY else EXAMPLES // 4
    waiting: deque[tuple[MethodDescriptor, list[bytes], Any]] = deque()
    for _ in range(examples):
        method = choose.choice(methods)
        count = choose.randrange(5) if method.client_streaming else 1
        names = safe(method, known)
        items = [hostile.encoded(method.input_type, names) for _ in range(count)]
        waiting.append((method, items, start(server, method, items)))
        if len(waiting) >= IN_FLIGHT:
            check(server, *waiting.popleft())
    while waiting:
        check(server, *waiting.popleft())
    usual(server)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.full_name)
def test_every_method_has_its_share(
    server: Serving, known: Known, method: MethodDescriptor
) -> None:
    hostile = Hostile(Random(f"{SEED} {method.full_name}"))
    names = safe(method, known)
    for _ in range(10):
        send(server, method, [hostile.encoded(method.input_type, names)])
        send(server, method, [hostile.junk()])
    usual(server)


@pytest.mark.parametrize("last", ["\ud800", "\0", 10**30, -(10**30), 2**63, None, [], 1.5, True])
@pytest.mark.parametrize(
    ("name", "listing", "fields"),
    [
        ("ListModels", "models ", {}),
        ("ListModelVersions", "versions s", {"parent": "s"}),
        ("ListOperations", '["operations", null, null]', {}),
    ],
)
def test_forged_page_tokens(
    server: Serving, name: str, listing: str, fields: dict[str, str], last: object
) -> None:
    method = next(m for m in METHODS if m.name == name)
    build = method.input_type._concrete_class
    request = build(page_token=forged_token(listing, last), **fields)
    send(server, method, [request.SerializeToString()])


@pytest.mark.parametrize("size", [1_000, 90_000])
@pytest.mark.parametrize("character", ["x", "é", "😀", "\0", "(", "\n", "%", '"', "\u202e"])
def test_long_names_leave_room_for_the_details(server: Serving, character: str, size: int) -> None:
    """Trailers have about 8 KiB; a name that is echoed must not push the details out."""
    long = character * (size // len(character.encode()))
    for method in UNARY:
        for field in method.input_type.fields:
            if field.type == field.TYPE_STRING and not field.is_repeated:
                request = method.input_type._concrete_class(**{field.name: long})
                send(server, method, [request.SerializeToString()])
