"""Exits 0 when the server of this container serves, 1 when it does not: the image's HEALTHCHECK.

Asks grpc.health.v1, which needs no token, at the address in STILLROOM_ADDRESS. Where
STILLROOM_TLS_CERTIFICATE is set, it trusts that certificate by the name in HEALTH_TLS_NAME
(localhost); where clients must show one, HEALTH_TLS_CERTIFICATE and HEALTH_TLS_KEY name its files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

TIMEOUT_SECONDS = 4.0
_EVERY_INTERFACE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}


def target(address: str) -> str:
    """Where to reach, from the same machine, what listens on ``address``."""
    host, colon, port = address.rpartition(":")
    return f"{_EVERY_INTERFACE.get(host, host)}{colon}{port}"


def channel(environment: Mapping[str, str]) -> grpc.Channel:
    """A channel to the server that was started with this environment."""
    where = target(environment.get("STILLROOM_ADDRESS", "127.0.0.1:50051"))
    certificate = environment.get("STILLROOM_TLS_CERTIFICATE")
    if not certificate:
        return grpc.insecure_channel(where)
    credentials = grpc.ssl_channel_credentials(
        Path(certificate).read_bytes(),
        _content(environment.get("HEALTH_TLS_KEY")),
        _content(environment.get("HEALTH_TLS_CERTIFICATE")),
    )
    name = environment.get("HEALTH_TLS_NAME", "localhost")
    return grpc.secure_channel(where, credentials, [("grpc.ssl_target_name_override", name)])


def is_serving(environment: Mapping[str, str]) -> bool:
    """Whether the server as a whole says SERVING in time."""
    with channel(environment) as connection:
        request = health_pb2.HealthCheckRequest()
        answer = health_pb2_grpc.HealthStub(connection).Check(request, timeout=TIMEOUT_SECONDS)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _content(path: str | None) -> bytes | None:
    return Path(path).read_bytes() if path else None


if __name__ == "__main__":
    try:
        sys.exit(0 if is_serving(os.environ) else 1)
    except (grpc.RpcError, OSError) as error:
        sys.exit(str(error))
