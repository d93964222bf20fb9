"""The server itself."""

from __future__ import annotations

from stillroom._core import Core
from stillroom._protocol import rpcs
from stillroom.v1 import server_service_pb2 as pb


async def server_info(core: Core) -> pb.GetServerInfoResponse:
    """Version, limits, loaded models and devices of the server."""
    return await core.call(rpcs.GET_SERVER_INFO, pb.GetServerInfoRequest())
