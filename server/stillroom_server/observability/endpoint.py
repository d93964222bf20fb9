"""``/metrics`` over HTTP."""

from __future__ import annotations

import threading
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server

from stillroom_registry.errors import FailedPrecondition, InvalidArgument
from stillroom_server.security import bind
from stillroom_server.settings import Settings


class MetricsEndpoint:
    """A thread that answers scrapes; ``address`` is empty when it is turned off."""

    def __init__(self, server: WSGIServer | None, thread: threading.Thread | None, address: str):
        self._server = server
        self._thread = thread
        self.address = address

    @classmethod
    def start(cls, settings: Settings, registry: CollectorRegistry) -> MetricsEndpoint:
        """Serves ``registry``. Raises FailedPrecondition when the port is in use, or the bind is
        beyond loopback without ``allow_insecure`` (scrapes have neither TLS nor tokens here)."""
        if not settings.metrics_address:
            return cls(None, None, "")
        address = bind.parse_address(settings.metrics_address, field="metrics_address")
        if address.is_unix:
            raise InvalidArgument(
                "metrics_address must be host:port; metrics are not served on a Unix socket",
                reason="INVALID_ADDRESS",
                field="metrics_address",
            )
        bind.require_safe(
            address,
            tls=False,
            tokens=False,
            allow_insecure=settings.allow_insecure,
            field="metrics_address",
        )
        try:
            server, thread = start_http_server(address.port, address.host, registry)
        except OSError as error:
            raise FailedPrecondition(
                f"cannot serve metrics on {settings.metrics_address}: {error.strerror};"
                " name another with --metrics-address, or turn it off with --metrics-address ''",
                reason="METRICS_ADDRESS_IN_USE",
                field="metrics_address",
            ) from None
        return cls(server, thread, address.with_port(server.server_port))

    def stop(self) -> None:
        """Stops answering."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
