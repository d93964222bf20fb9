"""Where the server is and how to be let in, from arguments and environment.

Environment, read once when a client is made, wherever the argument is None:

    STILLROOM_TARGET             host:port, unix:/path or another gRPC name (127.0.0.1:50051)
    STILLROOM_TOKEN              the bearer token
    STILLROOM_ROOT_CERTIFICATES  PEM file with the CAs to trust; turns TLS on
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stillroom.errors import InvalidArgument

DEFAULT_TARGET = "127.0.0.1:50051"
Pem = bytes | str | Path


class Secret:
    """A string that shows as stars, so that it stays out of logs and tracebacks."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The string itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('******')"


@dataclass(frozen=True)
class Connection:
    """Checked settings of a channel; certificates are PEM."""

    target: str
    token: Secret | None
    tls: bool
    root_certificates: bytes | None
    client_certificate: bytes | None
    client_key: bytes | None


def resolve(
    target: str | None,
    *,
    token: str | None,
    tls: bool | None,
    root_certificates: Pem | None,
    client_certificate: Pem | None,
    client_key: Pem | None,
    allow_insecure: bool,
    environment: Mapping[str, str],
) -> Connection:
    """Fills in the environment and checks that the parts agree; InvalidArgument names the one that
    does not. A token goes in the clear only to this machine, or with ``allow_insecure``."""
    target = (environment.get("STILLROOM_TARGET") or DEFAULT_TARGET) if target is None else target
    token = environment.get("STILLROOM_TOKEN") or None if token is None else token
    if root_certificates is None and tls is not False:
        named = environment.get("STILLROOM_ROOT_CERTIFICATES")
        root_certificates = Path(named) if named else None
    _check_target(target)
    if token is not None and (not token or not token.isascii() or not token.isprintable()):
        raise InvalidArgument("a token is printable ASCII and not empty", field="token")
    if (client_certificate is None) != (client_key is None):
        raise InvalidArgument(
            "client_certificate and client_key go together: give both or neither",
            field="client_key" if client_key is None else "client_certificate",
        )
    certified = root_certificates is not None or client_certificate is not None
    if tls is False and certified:
        raise InvalidArgument("certificates are given but tls is False", field="tls")
    secure = certified if tls is None else tls
    if token is not None and not (secure or allow_insecure or _is_local(target)):
        raise InvalidArgument(
            f"the token would travel to {target} in the clear; use TLS (tls=True, --tls), or say"
            " allow_insecure (--allow-insecure) if the network is trusted",
            reason="TOKEN_IN_THE_CLEAR",
            field="token",
        )
    return Connection(
        target=target,
        token=None if token is None else Secret(token),
        tls=secure,
        root_certificates=_pem(root_certificates, "root_certificates"),
        client_certificate=_pem(client_certificate, "client_certificate"),
        client_key=_pem(client_key, "client_key"),
    )


def _check_target(target: str) -> None:
    if not target or any(c.isspace() for c in target):
        raise InvalidArgument(
            f"the target {target!r} is no address; write host:port, such as {DEFAULT_TARGET}",
            field="target",
        )
    if target.startswith(("http://", "https://", "grpc://", "grpcs://")):
        scheme, _, rest = target.partition("://")
        raise InvalidArgument(
            f"the target is an address, not a URL: write {rest.rstrip('/') or DEFAULT_TARGET!r}"
            + (" and turn TLS on" if scheme in ("https", "grpcs") else ""),
            field="target",
        )


def _is_local(target: str) -> bool:
    if target.startswith(("unix:", "unix-abstract:")):
        return True
    address = target.rpartition("/")[2]
    host = address.rpartition(":")[0] if not address.endswith("]") else address
    host = (host or address).strip("[]")
    return host in ("localhost", "::1") or (host.startswith("127.") and _is_ipv4(host))


def _is_ipv4(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(p.isdigit() and int(p) < 256 for p in parts)


def _pem(value: Pem | None, field: str) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    path = Path(value)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {error.strerror}", field=field) from None
