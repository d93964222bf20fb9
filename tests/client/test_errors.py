"""Errors come out of the client as they were raised in the server."""

from __future__ import annotations

import pickle

import grpc
import pytest
from google.rpc import code_pb2

from client.fake_server import EMBED, FakeServer, fail, status
from stillroom import Client, errors
from stillroom_registry import errors as domain
from stillroom_server.rpc.errors import CODES, to_status


def test_every_status_code_has_a_class() -> None:
    for code in grpc.StatusCode:
        number, _ = code.value
        if code is grpc.StatusCode.OK:
            assert number not in errors.CLASSES
        else:
            kind = errors.CLASSES[number]
            assert kind.code == code.name
            assert kind.__name__.upper() == code.name.replace("_", "")


@pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)
def test_from_status_inverts_the_servers_mapping(kind: type[domain.StillroomError]) -> None:
    raised = kind(
        "do something else",
        reason="SOME_REASON",
        field="texts[3]",
        metadata={"model": "mini"},
        retry_after=2.5,
    )
    seen = errors.from_status(to_status(raised))
    assert type(seen).__name__ == kind.__name__
    for attribute in ("message", "reason", "field", "metadata", "retry_after"):
        assert getattr(seen, attribute) == getattr(raised, attribute)
    assert pickle.loads(pickle.dumps(seen)).__dict__ == seen.__dict__  # noqa: S301 - our own


def test_details_travel_through_a_real_call(server: FakeServer, client: Client) -> None:
    refusal = status(
        code_pb2.RESOURCE_EXHAUSTED, "too many", reason="BUSY", retry_after=1.5, limit="3"
    )
    server.on(EMBED, lambda request, context: fail(context, refusal))
    with pytest.raises(errors.ResourceExhausted) as caught:
        client.embed("x", model="fake")
    assert caught.value.reason == "BUSY"
    assert caught.value.retry_after == 1.5
    assert caught.value.metadata == {"limit": "3"}


def test_a_status_without_details_keeps_its_code(server: FakeServer, client: Client) -> None:
    server.on(EMBED, lambda r, context: context.abort(grpc.StatusCode.DATA_LOSS, "plain"))
    with pytest.raises(errors.DataLoss, match="plain") as caught:
        client.embed("x", model="fake")
    assert caught.value.reason == "GRPC_DATA_LOSS"


def test_details_that_are_damaged_or_of_another_code_are_ignored(
    server: FakeServer, client: Client
) -> None:
    def behavior(request: object, context: grpc.ServicerContext) -> None:
        other = status(code_pb2.NOT_FOUND).SerializeToString()
        key = "grpc-status-details-bin"
        context.set_trailing_metadata(((key, b"\xff\xff"), (key, other)))
        context.abort(grpc.StatusCode.ABORTED, "changed")

    server.on(EMBED, behavior)
    with pytest.raises(errors.Aborted, match="changed"):
        client.embed("x", model="fake")


def test_no_server_says_where_it_looked() -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(errors.Unavailable) as caught:
        client.server_info()
    assert "127.0.0.1:1" in caught.value.message


def test_another_program_on_the_port_is_told_apart(server: FakeServer, client: Client) -> None:
    class Nonsense:
        def SerializeToString(self) -> bytes:
            return b"\x0a\xff"

    server.on(EMBED, lambda request, context: Nonsense())
    with pytest.raises(errors.Internal, match="another program"):
        client.embed("x", model="fake")
