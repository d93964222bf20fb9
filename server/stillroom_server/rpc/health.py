"""Health of the whole (``""``), of each service, and of each model (``models/{model}``)."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """grpc.health.v1 for this server: NOT_SERVING until ``ready``, and again from ``drain`` on."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = ["", *services]
        self._models: dict[str, bool] = {}
        self._servicer = HealthServicer()

    async def attach(self, server: grpc.aio.Server) -> None:
        """Serves it, with every service NOT_SERVING."""
        for service in self._services:
            await self._servicer.set(service, NOT_SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def ready(self) -> None:
        """Every service serves."""
        for service in self._services:
            await self._servicer.set(service, SERVING)

    async def models(self, serving: dict[str, bool]) -> None:
        """What models there are, and whether each can be served; others are unknown from now on."""
        for name, well in serving.items():
            if self._models.get(name) is not well:
                await self._servicer.set(f"models/{name}", SERVING if well else NOT_SERVING)
        for name in self._models.keys() - serving.keys():
            await self._servicer.set(f"models/{name}", UNKNOWN)
        self._models = dict(serving)

    async def drain(self) -> None:
        """Everything is NOT_SERVING, for good."""
        await self._servicer.enter_graceful_shutdown()
