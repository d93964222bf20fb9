"""Channel options and credentials, the same for both kinds of channel."""

from __future__ import annotations

import grpc

from stillroom._protocol.rpcs import service_config
from stillroom._version import __version__
from stillroom.connection import Connection

# Answers are bounded by the server's own limits; gRPC's default of 4 MiB would refuse 4,096 rows of
# 256 floats on the stream.
_MAX_ANSWER_BYTES = 256 << 20


def options() -> list[tuple[str, str | int]]:
    """Arguments of a channel."""
    return [
        ("grpc.service_config", service_config()),
        ("grpc.primary_user_agent", f"stillroom-python/{__version__}"),
        ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
        ("grpc.max_send_message_length", -1),
        # Below this size a failed request can be sent again by gRPC itself.
        ("grpc.per_rpc_retry_buffer_size", 4 << 20),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        # Finds peers that vanished without a word while a stream waits.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
    ]


def credentials(connection: Connection) -> grpc.ChannelCredentials | None:
    """TLS credentials; None for a channel in the clear."""
    if not connection.tls:
        return None
    return grpc.ssl_channel_credentials(
        connection.root_certificates, connection.client_key, connection.client_certificate
    )


def metadata(connection: Connection) -> tuple[tuple[str, str], ...]:
    """What goes with every call: the token, if there is one."""
    if connection.token is None:
        return ()
    return (("authorization", f"Bearer {connection.token.reveal()}"),)
