"""Texts to MLServer over its gRPC: ``... TEXTS MODEL DIMENSIONS``; TEXTS is a JSON list. A line of
JSON is asked on standard input and answered on standard output:

``{"address": a, "count": n, "batch": b, "window": w}`` sends n texts, b a request, w requests in
flight, and is answered the seconds. Requests are serialized before, and carry and ask for raw
tensors, which are this protocol's fastest form; vectors become numpy arrays.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import uvloop
from mlserver.grpc import dataplane_pb2 as pb  # type: ignore[import-not-found,unused-ignore]

INFER = "/inference.GRPCInferenceService/ModelInfer"
READY = "/inference.GRPCInferenceService/ModelReady"
NO_LIMIT = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def request_of(texts: list[str], model: str) -> bytes:
    """One request for the vectors of ``texts``."""
    encoded = [text.encode() for text in texts]
    made: bytes = pb.ModelInferRequest(
        model_name=model,
        inputs=[
            pb.ModelInferRequest.InferInputTensor(
                name="texts", datatype="BYTES", shape=[len(texts), 1]
            )
        ],
        raw_input_contents=[b"".join(struct.pack("<I", len(t)) + t for t in encoded)],
    ).SerializeToString()
    return made


def vectors_of(data: bytes, dimensions: int) -> Any:
    """The vectors in an answer."""
    answer = pb.ModelInferResponse.FromString(data)
    return np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(-1, dimensions)


async def send(
    address: str, requests: list[bytes], texts: int, window: int, dimensions: int
) -> float:
    """Seconds for all requests, which must be answered with a vector for each of ``texts``."""
    async with grpc.aio.insecure_channel(address, NO_LIMIT) as channel:
        call = channel.unary_unary(INFER, None, None)
        await call(requests[0], wait_for_ready=True)
        left = iter(requests)
        rows = 0

        async def lane() -> None:
            nonlocal rows
            for request in left:
                answer = await call(request)
                rows += len(vectors_of(answer, dimensions))

        started = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(window)))
        seconds = time.perf_counter() - started
    if rows != texts:
        raise RuntimeError(f"{rows} of {texts} texts were answered")
    return seconds


async def wait(address: str, model: str, seconds: float) -> float:
    """Returns when the model is ready."""
    started = time.perf_counter()
    async with grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(READY, None, None)
        data = pb.ModelReadyRequest(name=model).SerializeToString()
        while True:
            try:
                found = await call(data, wait_for_ready=True, timeout=seconds)
                if pb.ModelReadyResponse.FromString(found).ready:
                    return time.perf_counter() - started
            except grpc.RpcError:
                if time.perf_counter() - started > seconds:
                    raise
            await asyncio.sleep(0.1)


def main(texts: list[str], model: str, dimensions: int) -> None:
    """Answers."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            said = uvloop.run(wait(asked["address"], model, asked["wait"]))
        else:
            size, given = asked["batch"], cycle(texts)
            count = max(1, asked["count"] // size)
            requests = [request_of(list(islice(given, size)), model) for _ in range(count)]
            said = uvloop.run(
                send(asked["address"], requests, count * size, asked["window"], dimensions)
            )
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), sys.argv[2], int(sys.argv[3]))
