"""Where the server is and who may know the token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from client.fake_server import EMBED, FakeServer
from client.fake_server import embed as good_embed
from stillroom import Client
from stillroom.connection import Connection, resolve
from stillroom.errors import InvalidArgument

NOTHING: dict[str, Any] = {
    "token": None,
    "tls": None,
    "root_certificates": None,
    "client_certificate": None,
    "client_key": None,
    "allow_insecure": False,
    "environment": {},
}


def resolved(target: str | None = None, **settings: Any) -> Connection:
    return resolve(target, **{**NOTHING, **settings})


def test_arguments_beat_the_environment_which_beats_the_default() -> None:
    environment = {"STILLROOM_TARGET": "localhost:7", "STILLROOM_TOKEN": "theirs"}
    assert resolved().target == "127.0.0.1:50051"
    assert resolved().token is None
    theirs = resolved(environment=environment)
    assert theirs.target == "localhost:7"
    assert theirs.token is not None
    assert theirs.token.reveal() == "theirs"
    ours = resolved("[::1]:9", token="ours", environment=environment)
    assert ours.target == "[::1]:9"
    assert ours.token is not None
    assert ours.token.reveal() == "ours"


def test_a_token_never_shows(server: FakeServer) -> None:
    connection = resolved(token="sesame")
    assert "sesame" not in repr(connection)
    server.on(EMBED, good_embed)
    with Client(server.target, token="sesame") as client:
        client.embed("x", model="m")
        assert "sesame" not in repr(vars(client))
    assert server.metadata["authorization"] == "Bearer sesame"


@pytest.mark.parametrize(
    "target",
    ["127.0.0.1:1", "localhost:1", "[::1]:1", "unix:/tmp/x", "dns:///localhost:1", "127.1.2.3:4"],
)
def test_a_token_goes_to_this_machine_in_the_clear(target: str) -> None:
    assert not resolved(target, token="t").tls


@pytest.mark.parametrize(
    "target", ["example.com:1", "10.0.0.1:1", "dns:///a.b:1", "127.evil.com:1", "localhost.evil:1"]
)
def test_a_token_goes_nowhere_else_in_the_clear(target: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        resolved(target, token="t")
    assert caught.value.reason == "TOKEN_IN_THE_CLEAR"
    assert resolved(target, token="t", tls=True).tls
    assert not resolved(target, token="t", allow_insecure=True).tls


def test_certificates_turn_tls_on(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    pem.write_bytes(b"PEM")
    assert resolved(root_certificates=pem).root_certificates == b"PEM"
    assert resolved(root_certificates=str(pem)).tls
    assert resolved(client_certificate=b"c", client_key=b"k").tls
    environment = {"STILLROOM_ROOT_CERTIFICATES": str(pem)}
    assert resolved(environment=environment).root_certificates == b"PEM"
    assert not resolved(environment=environment, tls=False).tls


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"target": ""}, "target"),
        ({"target": "a b:1"}, "target"),
        ({"target": "http://x:1"}, "target"),
        ({"token": ""}, "token"),
        ({"token": "tök"}, "token"),
        ({"token": "a\nb"}, "token"),
        ({"client_certificate": b"x"}, "client_key"),
        ({"client_key": b"x"}, "client_certificate"),
        ({"root_certificates": b"x", "tls": False}, "tls"),
        ({"root_certificates": "/nonexistent.pem"}, "root_certificates"),
    ],
)
def test_bad_settings_name_the_field(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        resolved(**settings)
    assert caught.value.field == field


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_is_positive(timeout: float) -> None:
    with pytest.raises(InvalidArgument):
        Client(timeout=timeout)
    with Client() as client, pytest.raises(InvalidArgument):
        client.with_timeout(timeout)


def test_with_timeout_bounds_calls(server: FakeServer) -> None:
    seen: list[float | None] = []

    def behavior(request: Any, context: Any) -> Any:
        seen.append(context.time_remaining())
        return good_embed(request, context)

    server.on(EMBED, behavior)
    with Client(server.target) as client:
        client.embed("x", model="m")
        client.with_timeout(5).embed("x", model="m")
        client.with_timeout(None).embed("x", model="m")
    first, second, third = seen
    assert first is not None
    assert second is not None
    assert 100 < first < 121
    assert 0 < second < 6
    assert third is None or third > 1e6
