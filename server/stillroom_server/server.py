"""A running server: its parts in the order they start, and in reverse the order they stop."""

from __future__ import annotations

from contextlib import AsyncExitStack

import grpc
from prometheus_client import CollectorRegistry

from stillroom_registry.database import Database
from stillroom_registry.datadir import DATABASE_FILE, DataDirectory
from stillroom_registry.errors import FailedPrecondition
from stillroom_registry.registry import Registry
from stillroom_registry.values import ModelKind
from stillroom_server.housekeeping import Housekeeper
from stillroom_server.inference.registry_models import NotAStudent
from stillroom_server.observability.endpoint import MetricsEndpoint
from stillroom_server.observability.metrics import build_info
from stillroom_server.parts import Parts, build
from stillroom_server.rpc import server_info
from stillroom_server.rpc.services import register
from stillroom_server.security import bind, tls
from stillroom_server.security.access import Access
from stillroom_server.settings import Settings

# The transport's own limit lies above the one that the handlers check, so that a message between
# the two is answered with details; one beyond it gets the core's bare RESOURCE_EXHAUSTED.
_TRANSPORT_MARGIN = 4


class Server:
    """Made by ``start``; ``address`` and ``metrics_address`` say where it listens."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self.address = ""
        self.metrics_address = ""

    @classmethod
    async def start(cls, settings: Settings) -> Server:
        """Everything started and serving, or a domain error and nothing left behind."""
        async with AsyncExitStack() as stack:
            server = cls(settings, stack)
            await server._start()
            server._stack = stack.pop_all()
            return server

    def ready_line(self) -> str:
        """One line for people and scripts."""
        metrics = f" metrics=http://{self.metrics_address}/metrics" if self.metrics_address else ""
        return f"stillroom ready address={self.address}{metrics} data_dir={self._settings.data_dir}"

    async def stop(self, grace: float) -> None:
        """NOT_SERVING, then requests in flight finish within ``grace`` seconds, then the rest."""
        await self._health.drain()
        await self._grpc.stop(grace)
        await self._stack.aclose()

    async def _start(self) -> None:
        settings, stack = self._settings, self._stack
        address = bind.parse_address(settings.address)
        bind.require_safe(
            address,
            tls=settings.tls_certificate is not None,
            tokens=settings.token_file is not None,
            allow_insecure=settings.allow_insecure,
        )
        access = Access.from_settings(settings)
        directory = stack.enter_context(DataDirectory.open(settings.data_dir))
        database = Database.open(directory.path / DATABASE_FILE)
        stack.callback(database.close)
        registry = Registry.open(
            directory.path, database=database, quota_bytes=settings.registry_quota_bytes or None
        )
        stack.callback(registry.close)
        metrics = CollectorRegistry()
        build_info(metrics, server_info.version())
        parts = build(settings, directory.path, registry, metrics)
        endpoint = MetricsEndpoint.start(settings, metrics)
        stack.callback(endpoint.stop)
        self.metrics_address = endpoint.address
        self._grpc = grpc.aio.server(options=_options(settings))
        self.address = _listen(self._grpc, address, settings)
        self._health = await register(self._grpc, parts, access)
        stack.push_async_callback(parts.teachers.stop)
        for ref in settings.preload:
            await _preload(parts, ref)
        await self._grpc.start()
        stack.push_async_callback(self._grpc.stop, None)
        await parts.supervisor.start()
        stack.push_async_callback(parts.supervisor.stop)
        housekeeper = Housekeeper(parts, self._health)
        await housekeeper.start()
        stack.push_async_callback(housekeeper.stop)
        await self._health.ready()


async def _preload(parts: Parts, ref: str) -> None:
    try:
        await parts.pool.get(ref)
    except NotAStudent as other:
        version = other.version
        if version.kind is ModelKind.CLASSIFIER:
            loaded = await parts.classifiers.get(ref)
            if not loaded.served.needs_teacher:
                return
            version = parts.registry.resolve(loaded.served.encoder_version)
        await parts.teachers.get(version)


def _options(settings: Settings) -> list[tuple[str, int]]:
    keepalive = int(settings.keepalive_seconds * 1000)
    return [
        ("grpc.max_receive_message_length", _TRANSPORT_MARGIN * settings.max_request_bytes),
        ("grpc.max_send_message_length", -1),
        # Cheap calls are answered as fast as they would be refused, so they never fill the gates:
        # without a limit here they wait in the transport, for minutes, or are cancelled by it.
        ("grpc.max_concurrent_streams", settings.max_calls_per_connection),
        # It would refuse calls of clients that keep to the limit, as it still counts ended ones.
        ("grpc.http.overload_protection", 0),
        # Without this, two servers share a port in silence.
        ("grpc.so_reuseport", 0),
        # A peer that vanished without a word would hold its streams' places for two hours.
        ("grpc.keepalive_time_ms", keepalive),
        ("grpc.keepalive_timeout_ms", keepalive // 3),
        ("grpc.http2.ping_timeout_ms", keepalive // 3),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ]


def _listen(server: grpc.aio.Server, address: bind.Address, settings: Settings) -> str:
    try:
        if settings.tls_certificate is not None and settings.tls_key is not None:
            credentials = tls.server_credentials(
                settings.tls_certificate, settings.tls_key, settings.tls_client_ca
            )
            port = server.add_secure_port(address.target, credentials)
        else:
            port = server.add_insecure_port(address.target)
    except RuntimeError:
        port = 0
    if not port:
        raise FailedPrecondition(
            f"cannot listen on {settings.address}: the port is in use or not this machine's;"
            " name another with --address (port 0 picks a free one)",
            reason="ADDRESS_IN_USE",
            field="address",
        )
    return address.with_port(port)
