"""Operations as futures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2 as lro
from google.protobuf import empty_pb2
from google.rpc import code_pb2

from client.fake_server import FakeServer, PatientAsyncTransport, PatientTransport, fail, status
from stillroom import AsyncClient, Client, Operation
from stillroom.errors import (
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from stillroom.v1 import common_pb2
from stillroom.v1 import distillation_service_pb2 as distillation
from stillroom.v1 import operation_service_pb2 as pb

DISTILL = "stillroom.v1.DistillationService/Distill"
WATCH = "stillroom.v1.OperationService/WatchOperation"
LRO = "google.longrunning.Operations"
NAME = "operations/1"


def operation(
    state: int = pb.OPERATION_STATE_RUNNING,
    *,
    done: int | None = None,
    response: Any = None,
    error: Any = None,
    name: str = NAME,
) -> lro.Operation:
    """An operation as the server tells of it; ``done`` of 10 steps."""
    message = lro.Operation(name=name, done=response is not None or error is not None)
    metadata = pb.OperationMetadata(kind="distill", state=state, attempt=1)
    if done is not None:
        metadata.progress.phase, metadata.progress.done = "encode", done
        metadata.progress.total, metadata.progress.fraction = 10, done / 10
    message.metadata.Pack(metadata)
    if response is not None:
        message.response.Pack(response)
    if error is not None:
        message.error.CopyFrom(error)
    return message


STUDENT = distillation.DistillResponse(teacher_version="models/t/versions/1")
SUCCEEDED = operation(pb.OPERATION_STATE_SUCCEEDED, response=STUDENT)


def watching(*states: lro.Operation) -> Any:
    def behavior(request: Any, context: Any) -> Iterator[Any]:
        assert request.name == NAME
        for state in states:
            yield pb.WatchOperationResponse(operation=state)

    return behavior


@pytest.fixture
def started(server: FakeServer, client: Client) -> Operation[distillation.DistillResponse]:
    server.answer(DISTILL, operation(pb.OPERATION_STATE_PENDING))
    return client.distill("teacher", "student", dimensions=8)


def test_result_waits_and_answers_the_response(
    server: FakeServer, started: Operation[distillation.DistillResponse]
) -> None:
    assert (started.name, started.state, started.done) == (NAME, "pending", False)
    assert started.latest_progress is None
    server.on(WATCH, watching(operation(done=3), operation(done=7), SUCCEEDED))
    assert started.result().teacher_version == "models/t/versions/1"
    assert (started.state, started.done, started.error) == ("succeeded", True, None)
    server.calls.clear()
    assert started.result() == STUDENT
    assert server.calls == []  # what is done is not asked for again


def test_progress_yields_each_change(
    server: FakeServer, started: Operation[distillation.DistillResponse]
) -> None:
    server.on(WATCH, watching(operation(), operation(done=3), operation(done=7), SUCCEEDED))
    seen = [(p.phase, p.done, p.fraction) for p in started.progress()]
    assert seen == [("encode", 3, 0.3), ("encode", 7, 0.7)]
    assert started.done
    server.on(WATCH, watching(operation(done=3), SUCCEEDED))
    assert [snapshot.state for snapshot in started.watch()] == ["running", "succeeded"]


@pytest.mark.parametrize(
    ("code", "kind"), [(code_pb2.CANCELLED, Cancelled), (code_pb2.DATA_LOSS, DataLoss)]
)
def test_result_raises_what_ended_it(
    server: FakeServer,
    started: Operation[distillation.DistillResponse],
    code: int,
    kind: type[Exception],
) -> None:
    ended = operation(error=status(code, "it broke", reason="BROKEN", field="teacher"))
    server.on(WATCH, watching(operation(done=1), ended))
    with pytest.raises(kind, match="it broke") as caught:
        started.result()
    assert caught.value.reason == "BROKEN"  # type: ignore[attr-defined]
    assert isinstance(started.error, kind)


def test_a_restart_of_the_server_is_waited_out(
    server: FakeServer,
    transport: PatientTransport,
    started: Operation[distillation.DistillResponse],
) -> None:
    opened = 0

    def behavior(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        nonlocal opened
        opened += 1
        yield pb.WatchOperationResponse(operation=operation(done=opened))
        if opened == 1:
            fail(context, status(code_pb2.UNAVAILABLE))
        elif opened == 3:
            yield pb.WatchOperationResponse(operation=SUCCEEDED)

    server.on(WATCH, behavior)
    assert [p.done for p in started.progress()] == [1, 2, 3]
    assert len(transport.pauses) == 2
    assert started.done


def test_a_server_that_stays_away_ends_the_watch(
    server: FakeServer, started: Operation[distillation.DistillResponse]
) -> None:
    server.on(WATCH, lambda r, context: fail(context, status(code_pb2.UNAVAILABLE, "gone")))
    with pytest.raises(Unavailable, match="gone"):
        started.result()


def test_a_timeout_leaves_it_running(
    server: FakeServer, started: Operation[distillation.DistillResponse]
) -> None:
    def behavior(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        yield pb.WatchOperationResponse(operation=operation(done=1))
        while context.is_active():  # until the client's deadline
            context.add_callback(lambda: None)

    server.on(WATCH, behavior)
    with pytest.raises(DeadlineExceeded, match="goes on") as caught:
        started.result(timeout=0.2)
    assert caught.value.reason == "WAIT_TIMEOUT"
    assert f"{LRO}/CancelOperation" not in server.calls


def test_cancel_refresh_and_delete(
    server: FakeServer, started: Operation[distillation.DistillResponse]
) -> None:
    server.answer(f"{LRO}/CancelOperation", empty_pb2.Empty())
    server.answer(f"{LRO}/DeleteOperation", empty_pb2.Empty())
    server.answer(f"{LRO}/GetOperation", SUCCEEDED)
    server.requests.clear()
    started.cancel()
    started.refresh()
    started.delete()
    assert started.done
    assert [request.name for request in server.requests] == [NAME] * 3  # type: ignore[attr-defined]


def test_responses_of_unknown_types_are_told(server: FakeServer, client: Client) -> None:
    strange = lro.Operation(name=NAME, done=True)
    strange.response.type_url = "type.googleapis.com/stillroom.v9.Unknown"
    server.answer(f"{LRO}/GetOperation", strange)
    with pytest.raises(Internal, match=r"stillroom\.v9\.Unknown"):
        client.get_operation(NAME).result()


def test_lists_go_through_all_pages(server: FakeServer, client: Client) -> None:
    def behavior(request: lro.ListOperationsRequest, context: Any) -> Any:
        assert request.filter == "kind=distill AND state=running"
        page = int(request.page_token or 0)
        return lro.ListOperationsResponse(
            operations=[operation(name=f"operations/{page}{index}") for index in range(2)],
            next_page_token=str(page + 1) if page < 2 else "",
        )

    server.on(f"{LRO}/ListOperations", behavior)
    found = [item.name for item in client.list_operations(kind="distill", state="running")]
    assert found == [f"operations/{page}{index}" for page in range(3) for index in range(2)]
    server.calls.clear()
    next(client.list_operations(kind="distill", state="running"))
    assert len(server.calls) == 1  # pages nobody asks for are not fetched


def test_wait(server: FakeServer, client: Client) -> None:
    server.answer(f"{LRO}/WaitOperation", operation(done=2))
    snapshot = client.wait_operation(NAME, seconds=0.25)
    assert not snapshot.done
    (request,) = server.requests
    assert request.timeout.ToMilliseconds() == 250  # type: ignore[attr-defined]
    with pytest.raises(InvalidArgument):
        client.wait_operation(NAME, seconds=-1)


async def test_the_asyncio_handle_does_the_same(server: FakeServer) -> None:
    server.answer(DISTILL, operation(pb.OPERATION_STATE_PENDING))
    server.on(WATCH, watching(operation(done=3), SUCCEEDED))
    server.answer(f"{LRO}/CancelOperation", empty_pb2.Empty())
    async with AsyncClient(transport=PatientAsyncTransport(server.target)) as client:
        started = await client.distill("teacher", "student")
        assert [p.done async for p in started.progress()] == [3]
        assert (await started.result()).teacher_version == "models/t/versions/1"
        await started.cancel()
        seen = [snapshot.state async for snapshot in client.watch_operation(NAME)]
        assert seen == ["running", "succeeded"]


def test_distill_requests(server: FakeServer, client: Client) -> None:
    server.answer(DISTILL, operation())

    def sent(*args: Any, **kwargs: Any) -> Any:
        server.requests.clear()
        client.distill(*args, **kwargs)
        return server.requests[0]

    request = sent("t", "s")
    assert (request.teacher, request.name, request.WhichOneof("recipe")) == ("t", "s", None)
    assert len(request.request_id) == 36
    assert sent("t", "s").request_id != request.request_id
    assert sent("t", "s", request_id="mine").request_id == "mine"
    request = sent(
        "t",
        "s",
        dimensions=64,
        sif_coefficient=0.0,
        pooling="first",
        add_words=["a", "b"],
        remove_pattern="",
        element_type="int8",
        normalize=False,
        labels={"team": "search"},
    )
    static = request.static
    assert (static.dimensions, static.sif_coefficient) == (64, 0.0)
    assert static.HasField("sif_coefficient")
    assert static.HasField("remove_pattern")
    assert static.HasField("normalize")
    assert not static.HasField("variance")
    assert static.pooling == common_pb2.POOLING_FIRST
    assert static.element_type == common_pb2.ELEMENT_TYPE_INT8
    assert list(static.add_words) == ["a", "b"]
    assert dict(request.labels) == {"team": "search"}
    hub = client.model_source(hub="a/b@main")
    request = sent(hub, "s", teacher_name="t", recipe=distillation.AutoRecipe(seed=3))
    assert request.teacher_import.hub.revision == "main"
    assert request.auto.seed == 3


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"dimensions": 8, "variance": 0.5}, "variance"),
        ({"dimensions": "x"}, "dimensions"),
        ({"pooling": "middle"}, "pooling"),
        ({"element_type": "int4"}, "element_type"),
        ({"add_words": "abc"}, "add_words"),
        ({"dimension": 8}, "dimension"),
        ({"recipe": "magic"}, "recipe"),
        ({"recipe": pb.OperationMetadata()}, "recipe"),
        ({"recipe": "auto", "dimensions": 8}, "dimensions"),
        ({"recipe": "static", "layers": 3}, "layers"),
        ({"recipe": "static_tuned", "layers": 3}, "layers"),
        ({"recipe": "transformer", "grow_words": 3}, "grow_words"),
        ({"recipe": "quantize", "dimensions": 3}, "dimensions"),
        ({"layers": 3}, "layers"),
        ({"minimum_fidelity": {"cosine": 0.5}}, "minimum_fidelity"),
        ({"minimum_fidelity": "high"}, "minimum_fidelity"),
        ({"budget": {"euros": 5}}, "budget"),
        ({"budget": {"seconds": "x"}}, "seconds"),
        ({"corpus": "some text"}, "corpus"),
        ({"corpus": ["a", 5]}, "corpus[1]"),
        ({"corpus": ["a\ud800"]}, "corpus[0]"),
        ({"corpus": Path("/nonexistent")}, "corpus"),
        ({"corpus": Path("/")}, "corpus"),
        ({"evaluations": {"sts": Path("/nonexistent")}}, "evaluations['sts']"),
        ({"evaluations": {"sts": [("a",)]}}, "evaluations['sts']"),
        ({"evaluations": {"sts": [("x", "a", "b")]}}, "evaluations['sts']"),
        ({"recipe": distillation.AutoRecipe(), "dimensions": 8}, "dimensions"),
        ({"labels": {"a": 1}}, "labels"),
        ({"seed": -1}, "seed"),
        ({"teacher_name": 5}, "teacher_name"),
    ],
)
def test_bad_distill_options_name_the_field(
    client: Client, options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        client.distill("t", "s", **options)
    assert caught.value.field == field


def test_an_unknown_operation(server: FakeServer, client: Client) -> None:
    server.on(WATCH, lambda r, context: fail(context, status(code_pb2.NOT_FOUND, "no such")))
    with pytest.raises(NotFound):
        list(client.watch_operation(NAME))
