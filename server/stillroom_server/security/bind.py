"""Where the server listens, and whether that is safe. Never asks a name server."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from stillroom_registry.errors import FailedPrecondition, InvalidArgument

# sun_path has 108 bytes, the last one for the end of the string.
MAX_SOCKET_PATH_BYTES = 107

_HOSTNAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?", re.ASCII)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True)
class Address:
    """A TCP ``host`` (IPv6 without brackets) and ``port`` (0: any free one), or a Unix socket's
    ``path``."""

    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_unix(self) -> bool:
        return bool(self.path)

    @property
    def target(self) -> str:
        """As gRPC writes it: ``host:port``, ``[host]:port`` or ``unix:/path``."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it, judged from the text alone.

        A name other than ``localhost`` is not loopback: what it means can change. Neither is
        ``127.1`` or an IPv4-mapped address, whose meaning depends on who parses it.
        """
        if self.path or self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def with_port(self, port: int) -> str:
        """The target once the system has picked ``port``; a Unix socket has none."""
        return self.target if self.is_unix else replace(self, port=port).target

    def __str__(self) -> str:
        return self.target


def parse_address(text: str, *, field: str = "address") -> Address:
    """The address in ``host:port``, ``[IPv6]:port`` or ``unix:/path``.

    Raises InvalidArgument (INVALID_ADDRESS) that names ``field``.
    """
    if text.startswith("unix:"):
        return _parse_unix(text, field)
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
        raise _invalid(text, field, "it must end in a colon and a port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise _invalid(text, field, "what is in brackets is no IPv6 address") from None
    elif ":" in host:
        raise _invalid(text, field, f"an IPv6 address needs brackets, as in [{host}]:{port}")
    elif not host:
        raise _invalid(text, field, "the host is missing; 0.0.0.0 means every IPv4 interface")
    elif not _HOSTNAME.fullmatch(host):
        raise _invalid(text, field, "the host is neither an IP address nor a name")
    return Address(host=host, port=int(port))


def require_safe(
    address: Address,
    *,
    tls: bool,
    tokens: bool,
    allow_insecure: bool,
    field: str = "address",
) -> None:
    """Refuse to let strangers in unencrypted or unasked.

    Loopback and Unix sockets are safe, and so is any address with ``tls`` and ``tokens``; else
    FailedPrecondition (INSECURE_BIND), unless the operator answers for it with ``allow_insecure``.
    ``field`` is the setting that holds the address; only that of the gRPC server, ``address``, can
    be made safe by a certificate and tokens.
    """
    if address.is_loopback or (tls and tokens) or allow_insecure:
        return
    ways = []
    if field == "address":
        missing = [] if tls else ["--tls-certificate and --tls-key, to encrypt"]
        missing += [] if tokens else ["--token-file, to know who asks"]
        ways.append(f"pass {', and '.join(missing)}")
    ways.append(f"listen on this machine alone with --{field.replace('_', '-')} 127.0.0.1:PORT")
    ways.append("pass --allow-insecure when the network itself keeps strangers out")
    raise FailedPrecondition(
        f"Other machines could reach {address}, so the server does not listen there as it is: "
        f"{'; or '.join(ways)}.",
        reason="INSECURE_BIND",
        field=field,
    )


def _parse_unix(text: str, field: str) -> Address:
    path = text.removeprefix("unix:")
    if path.startswith("//"):
        path = "/" + path.lstrip("/")
    if not path.startswith("/") or path == "/" or "\0" in path:
        raise _invalid(text, field, "unix: needs the absolute path of a socket, as in unix:/run/x")
    if len(path.encode(errors="surrogateescape")) > MAX_SOCKET_PATH_BYTES:
        raise _invalid(
            text, field, f"the path of a Unix socket has at most {MAX_SOCKET_PATH_BYTES} bytes"
        )
    return Address(path=path)


def _invalid(text: str, field: str, what: str) -> InvalidArgument:
    return InvalidArgument(
        f"{text[:200]!r} is no address to listen on: {what}. Pass 127.0.0.1:50051, [::1]:50051 or "
        "unix:/path.",
        reason="INVALID_ADDRESS",
        field=field,
    )
