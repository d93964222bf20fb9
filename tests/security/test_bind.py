"""Addresses: what is understood, and what is too open."""

from __future__ import annotations

import itertools
import socket

import pytest

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.security.bind import Address, parse_address, require_safe


@pytest.fixture(autouse=True)
def no_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("asked a name server")

    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "getfqdn"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.mark.parametrize(
    ("text", "address", "target"),
    [
        ("127.0.0.1:50051", Address("127.0.0.1", 50051), "127.0.0.1:50051"),
        ("0.0.0.0:0", Address("0.0.0.0", 0), "0.0.0.0:0"),
        ("[::1]:0", Address("::1", 0), "[::1]:0"),
        ("[fe80::1%eth0]:7", Address("fe80::1%eth0", 7), "[fe80::1%eth0]:7"),
        ("localhost:65535", Address("localhost", 65535), "localhost:65535"),
        ("my-host.example:1", Address("my-host.example", 1), "my-host.example:1"),
        ("unix:/run/x.sock", Address(path="/run/x.sock"), "unix:/run/x.sock"),
        ("unix:///run/x.sock", Address(path="/run/x.sock"), "unix:/run/x.sock"),
        ("unix:/run/a:1", Address(path="/run/a:1"), "unix:/run/a:1"),
    ],
)
def test_addresses(text: str, address: Address, target: str) -> None:
    assert parse_address(text) == address
    assert address.target == str(address) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1",
        "127.0.0.1:",
        ":50051",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1: 1",
        "127.0.0.1:1\n",
        "127.0.0.1:\u0661",
        "127.0.0.1:http",
        "::1:50051",
        "[::1]",
        "[::1]50051",
        "[localhost]:1",
        "[127.0.0.1]:1",
        "*:1",
        "a b:1",
        "dns:///host:1",
        "http://127.0.0.1:1",
        "unix:",
        "unix:/",
        "unix:x.sock",
        "unix:/a\0b",
        "unix-abstract:x",
        "unix:/" + "x" * 107,
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_address(text, field="metrics_address")
    assert (caught.value.reason, caught.value.field) == ("INVALID_ADDRESS", "metrics_address")


def test_the_longest_socket_path_fits() -> None:
    path = "/" + "x" * 106
    assert parse_address(f"unix:{path}").path == path


def test_the_port_that_the_system_picked() -> None:
    assert parse_address("[::1]:0").with_port(7) == "[::1]:7"
    assert parse_address("unix:/x").with_port(1) == "unix:/x"


LOOPBACK = ["127.0.0.1:1", "127.255.255.254:1", "[::1]:1", "[0:0:0:0:0:0:0:1]:1", "localhost:1"]
OPEN = [
    "0.0.0.0:1",
    "[::]:1",
    "10.0.0.1:1",
    "192.168.1.1:1",
    "128.0.0.1:1",
    "[fe80::1]:1",
    "[::ffff:127.0.0.1]:1",
    "[::ffff:10.0.0.1]:1",
    "example.com:1",
    "localhost.example.com:1",
    "localhost.:1",
    "127.0.0.1.example.com:1",
    "127.1:1",
    "0177.0.0.1:1",
    "2130706433:1",
]


@pytest.mark.parametrize("text", [*LOOPBACK, "LOCALHOST:1", "unix:/run/x"])
def test_what_only_this_machine_reaches_is_safe(text: str) -> None:
    address = parse_address(text)
    assert address.is_loopback
    require_safe(address, tls=False, tokens=False, allow_insecure=False)


@pytest.mark.parametrize("text", OPEN)
def test_what_others_reach_needs_both_or_a_word(text: str) -> None:
    address = parse_address(text)
    assert not address.is_loopback
    for tls, tokens in itertools.product([False, True], repeat=2):
        require_safe(address, tls=tls, tokens=tokens, allow_insecure=True)
        if tls and tokens:
            require_safe(address, tls=True, tokens=True, allow_insecure=False)
            continue
        with pytest.raises(FailedPrecondition) as caught:
            require_safe(address, tls=tls, tokens=tokens, allow_insecure=False)
        assert (caught.value.reason, caught.value.field) == ("INSECURE_BIND", "address")
        message = caught.value.message
        assert address.target in message
        assert ("--tls-certificate" in message) == (not tls)
        assert ("--token-file" in message) == (not tokens)
        assert "--allow-insecure" in message


def test_an_address_that_knows_no_tokens_is_not_told_to_use_them() -> None:
    with pytest.raises(FailedPrecondition) as caught:
        require_safe(
            parse_address("0.0.0.0:1"),
            tls=False,
            tokens=False,
            allow_insecure=False,
            field="metrics_address",
        )
    assert caught.value.field == "metrics_address"
    assert "--metrics-address 127.0.0.1:PORT" in caught.value.message
    assert "--token-file" not in caught.value.message
