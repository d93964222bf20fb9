"""What gRPC alone costs: ``... ANSWER``. A server, on the event loop of the real one, whose Embed
parses the request and answers the bytes in the file ANSWER, whatever was asked. Says
``{"address": ...}`` and ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import grpc
import uvloop

from stillroom.v1.embedding_service_pb2 import EmbedRequest


async def main(answer: bytes) -> None:
    """Serves until standard input ends."""

    async def embed(data: bytes, _context: object) -> bytes:
        EmbedRequest.FromString(data)
        return answer

    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    methods = {"Embed": grpc.unary_unary_rpc_method_handler(embed)}
    handlers = grpc.method_handlers_generic_handler("stillroom.v1.EmbeddingService", methods)
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"address": f"127.0.0.1:{port}"}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(1)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]).read_bytes()))
