"""Every RPC of the protocol is served, and answers with details."""

from __future__ import annotations

import errno
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from serving import Details, Serving

from stillroom_registry import errors as domain
from stillroom_server.rpc import errors
from stillroom_server.rpc.registration import not_implemented
from stillroom_server.rpc.services import SERVICES

METHODS = [method for service in SERVICES for method in service.methods]


def call(server: Serving, method: MethodDescriptor, data: bytes) -> list[bytes]:
    path = f"/{method.containing_service.full_name}/{method.name}"
    request: Any = iter([data]) if method.client_streaming else data
    kind = {
        (False, False): server.channel.unary_unary,
        (False, True): server.channel.unary_stream,
        (True, False): server.channel.stream_unary,
        (True, True): server.channel.stream_stream,
    }[method.client_streaming, method.server_streaming]
    answer = kind(path)(request, timeout=60)
    return list(answer) if method.server_streaming else [answer]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.full_name)
def test_garbage_never_goes_without_details(server: Serving, method: MethodDescriptor) -> None:
    if method.name in ("EmbedStream", "ClassifyStream"):
        return  # they answer items; see test_embedding.py and test_classification.py
    with pytest.raises(grpc.RpcError) as caught:
        call(server, method, b"\xff\xff\xff")
    assert Details(caught.value).info.reason == "MALFORMED_MESSAGE"


def is_served(server: Serving, method: MethodDescriptor) -> bool:
    try:
        call(server, method, b"")
    except grpc.RpcError as error:
        return Details(error).code is not grpc.StatusCode.UNIMPLEMENTED
    return True


def test_every_rpc_is_served(server: Serving) -> None:
    missing = {method.full_name for method in METHODS if not is_served(server, method)}
    assert not missing


def test_what_is_not_implemented_says_so_by_name() -> None:
    details = Details(errors.to_status(not_implemented("a.Service.Rpc")))
    assert details.code is grpc.StatusCode.UNIMPLEMENTED
    assert details.info.reason == "RPC_NOT_IMPLEMENTED"
    assert details.info.metadata["rpc"] == "a.Service.Rpc"


def domain_errors() -> list[type[domain.StillroomError]]:
    return [
        value
        for value in vars(domain).values()
        if isinstance(value, type) and issubclass(value, domain.StillroomError)
    ]


@pytest.mark.parametrize("error_class", domain_errors())
def test_every_domain_error_has_a_status(error_class: type[domain.StillroomError]) -> None:
    error = error_class("why", reason="BECAUSE", field="a.b", metadata={"k": "v"}, retry_after=1.5)
    details = Details(errors.to_status(error))
    expected = "INTERNAL" if error_class is domain.StillroomError else error.default_reason
    assert details.code.name == expected
    assert details.message == "why"
    assert (details.info.reason, dict(details.info.metadata)) == ("BECAUSE", {"k": "v"})
    assert (details.field, details.retry_seconds) == ("a.b", 1.5)


def test_a_subclass_takes_the_status_of_its_base() -> None:
    class Moved(domain.Aborted):
        pass

    assert errors.code_of(Moved("x")) is grpc.StatusCode.ABORTED


def test_what_nobody_foresaw_is_internal_and_keeps_its_text_to_itself() -> None:
    details = Details(errors.to_status(RuntimeError("the secret path")))
    assert details.code is grpc.StatusCode.INTERNAL
    assert "secret" not in details.message


def test_a_failing_disk_is_no_fault_of_the_server_and_is_not_repeated() -> None:
    details = Details(errors.to_status(OSError(errno.EIO, "bad sector", "/the/secret/path")))
    assert details.code is grpc.StatusCode.FAILED_PRECONDITION
    assert details.info.reason == "STORAGE_FAILURE"
    assert details.retry_seconds is None
    assert "secret" not in details.message
    assert Details(errors.to_status(OSError(errno.EPIPE, "x"))).info.reason == "INTERNAL"


def test_a_huge_message_fits_into_trailers() -> None:
    error = domain.InvalidArgument("x" * 100_000, field="f", metadata={"k": "y" * 100_000})
    assert len(errors.to_status(error).SerializeToString()) < 7_000


def test_unavailable_always_says_when_to_retry() -> None:
    assert Details(errors.to_status(domain.Unavailable("starting"))).retry_seconds == 1.0


def test_exhaustion_pushes_back() -> None:
    status = errors.to_status(domain.ResourceExhausted("full", retry_after=0.25))
    assert ("grpc-retry-pushback-ms", "250") in errors.trailers(status)
