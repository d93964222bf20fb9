"""grpc.reflection.v1alpha, behind the same guard as every other service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from google.protobuf.descriptor import ServiceDescriptor
from grpc_reflection.v1alpha import _async as reflection
from grpc_reflection.v1alpha import reflection_pb2

from stillroom_server.rpc.call import Call, parse

DESCRIPTOR: ServiceDescriptor = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]
_MAX_REQUEST_BYTES = 64 * 1024


class ReflectionServicer:
    """Describes ``names`` and itself."""

    def __init__(self, names: Iterable[str]) -> None:
        self._inner = reflection.ReflectionServicer([*names, DESCRIPTOR.full_name])

    async def ServerReflectionInfo(
        self, requests: AsyncIterator[bytes], call: Call
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        parsed = (
            parse(reflection_pb2.ServerReflectionRequest, data, _MAX_REQUEST_BYTES)
            async for data in requests
        )
        async for answer in self._inner.ServerReflectionInfo(parsed, None):
            yield answer
