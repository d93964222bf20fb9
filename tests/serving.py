"""A real server in a thread of the test process, for tests that speak gRPC to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from stillroom_server.server import Server
from stillroom_server.settings import Settings


class Serving:
    """Where the server listens, and a channel to it."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.loop = loop
        self.address = server.address
        self.channel = grpc.insecure_channel(server.address)

    def run(self, coroutine: Any) -> Any:
        """Runs a coroutine in the server's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)


@contextmanager
def serving(data_dir: Path, **settings: Any) -> Iterator[Serving]:
    """A server on a free port with its data in ``data_dir``, stopped on exit."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    chosen = {"address": "127.0.0.1:0", "metrics_address": "", "cost_calibrate": False}
    chosen |= {"data_dir": data_dir, **settings}
    try:
        start = asyncio.run_coroutine_threadsafe(Server.start(Settings(**chosen)), loop)
        found = Serving(start.result(60), loop)
        try:
            yield found
        finally:
            found.channel.close()
            found.run(found.server.stop(0.5))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()


class Details:
    """An RPC's error, unpacked."""

    def __init__(self, error: grpc.RpcError | status_pb2.Status) -> None:
        if isinstance(error, grpc.RpcError):
            status = rpc_status.from_call(error)
            assert status is not None, f"no details: {error}"
        else:
            status = error
        self.status = status
        self.code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
        self.message = status.message
        self.info = error_details_pb2.ErrorInfo()
        self.field = ""
        self.retry_seconds: float | None = None
        bad, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        assert any(detail.Unpack(self.info) for detail in status.details)
        for detail in status.details:
            if detail.Unpack(bad):
                self.field = bad.field_violations[0].field
            if detail.Unpack(retry):
                self.retry_seconds = retry.retry_delay.ToNanoseconds() / 1e9
        assert self.info.domain == "stillroom"
