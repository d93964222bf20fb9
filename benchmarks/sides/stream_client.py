"""The Python client: ``... TEXTS MODEL``; TEXTS is a JSON list. Asked

``{"address": a, "count": n, "batch": b}`` it embeds n texts over EmbedStream, b a message, and
answers the seconds;

``{"address": a, "calls": n, "raw": false}`` it embeds one text n times by unary, with Client.embed
or (raw) with nothing but gRPC and a request that is serialized already, and answers the seconds of
each.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import grpc

from benchmarks.worker import answer
from stillroom import Client
from stillroom.v1.embedding_service_pb2 import EmbedRequest

EMBED = "/stillroom.v1.EmbeddingService/Embed"


class Side:
    """Connections by address, and what to do over them."""

    def __init__(self, texts: list[str], model: str) -> None:
        self._texts = texts
        self._model = model
        self._clients: dict[str, Client] = {}
        self._raw: dict[str, Callable[[bytes], bytes]] = {}

    def handle(self, request: dict[str, Any]) -> float | list[float]:
        """Answers a request."""
        address = request["address"]
        if address not in self._clients:
            self._clients[address] = Client(address)
            self._raw[address] = grpc.insecure_channel(address).unary_unary(EMBED, None, None)
        if "count" in request:
            return self._stream(self._clients[address], request["count"], request["batch"])
        call = self._raw_call(address) if request["raw"] else self._client_call(address)
        return [_seconds(call) for _ in range(request["calls"])]

    def _stream(self, client: Client, count: int, batch: int) -> float:
        texts = islice(cycle(self._texts), count)
        rows = 0
        started = time.perf_counter()
        for answer_ in client.embed_stream(texts, model=self._model, batch_size=batch):
            rows += len(answer_.vectors)
        seconds = time.perf_counter() - started
        if rows != count:
            raise RuntimeError(f"{rows} of {count} texts were answered")
        return seconds

    def _client_call(self, address: str) -> Callable[[], object]:
        client, texts, model = self._clients[address], self._texts[:1], self._model
        return lambda: client.embed(texts, model=model)

    def _raw_call(self, address: str) -> Callable[[], object]:
        call, data = self._raw[address], request_bytes(self._texts[0], self._model)
        return lambda: call(data)


def request_bytes(text: str, model: str) -> bytes:
    """The request of one text."""
    return EmbedRequest(model=model, texts=[text]).SerializeToString()


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    answer(Side(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]).handle)
