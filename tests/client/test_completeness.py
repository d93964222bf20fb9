"""Nothing of the protocol is missing, and the two clients cannot drift apart."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
import tomllib
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from google.longrunning import operations_pb2
from google.protobuf import message_factory

import stillroom
from stillroom import AsyncClient, AsyncOperation, Client, Operation
from stillroom._core import Core
from stillroom._protocol import rpcs
from stillroom.errors import StillroomError, Unimplemented
from stillroom.internal.v1 import classification_wire_pb2, embedding_wire_pb2
from stillroom.snapshots import Started
from stillroom.v1 import (
    classification_service_pb2,
    common_pb2,
    cost_service_pb2,
    distillation_service_pb2,
    embedding_service_pb2,
    model_service_pb2,
    operation_service_pb2,
    server_service_pb2,
    upload_service_pb2,
)

SERVICES = [
    service
    for module in (
        classification_service_pb2,
        cost_service_pb2,
        distillation_service_pb2,
        embedding_service_pb2,
        model_service_pb2,
        operation_service_pb2,
        operations_pb2,
        server_service_pb2,
        upload_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
]
SOURCES = (
    common_pb2.Corpus,
    common_pb2.ModelSource,
    classification_service_pb2.LabeledData,
    classification_service_pb2.TrainClassifierRequest,
    distillation_service_pb2.DistillRequest,
)
WIRE_TWINS = {
    "ClassifyResponse": classification_wire_pb2.WireClassifyResponse,
    "ClassifyStreamResponse": classification_wire_pb2.WireClassifyResponse,
    "EmbedResponse": embedding_wire_pb2.WireEmbedResponse,
    "EmbedStreamResponse": embedding_wire_pb2.WireEmbedResponse,
}


def test_the_table_holds_every_rpc_with_its_messages() -> None:
    table = {rpc.path: rpc for rpc in rpcs.ALL}
    expected = {f"/{s.full_name}/{m.name}": m for s in SERVICES for m in s.methods}
    assert table.keys() == expected.keys()
    for path, method in expected.items():
        assert table[path].request is message_factory.GetMessageClass(method.input_type)
        if method.output_type.name in WIRE_TWINS:
            assert table[path].answer is WIRE_TWINS[method.output_type.name]
        else:
            assert table[path].answer is message_factory.GetMessageClass(method.output_type)


def test_only_what_may_be_repeated_is_retried_by_grpc() -> None:
    reads = ("Classify", "Embed", "Estimate", "Get", "List", "Tokenize", "Cancel", "Wait")
    for rpc in rpcs.ALL:
        name = rpc.path.rpartition("/")[2]
        has_id = "request_id" in rpc.request.DESCRIPTOR.fields_by_name
        others = ("Upload", "DownloadModelVersion", "WatchOperation")
        streams = name.endswith("Stream") or name in others
        assert rpc.repeatable == (not streams and (has_id or name.startswith(reads))), name
    config = json.loads(rpcs.service_config())["methodConfig"]
    assert len(config) == 1
    assert config[0]["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
    assert {f"/{n['service']}/{n['method']}" for n in config[0]["name"]} == {
        rpc.path for rpc in rpcs.ALL if rpc.repeatable
    }


class Recorder:
    """A transport that remembers what was called and serves nothing."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def _refuse(self, rpc: rpcs.Rpc[Any, Any]) -> Unimplemented:
        self.seen.add(rpc.path)
        return Unimplemented("recorded")

    async def unary(self, rpc: Any, request: Any, seconds: Any) -> Any:
        raise self._refuse(rpc)

    async def receive(self, rpc: Any, request: Any, seconds: Any) -> AsyncGenerator[Any, None]:
        raise self._refuse(rpc)
        yield

    async def send(self, rpc: Any, requests: Any, opened: Any) -> Any:
        raise self._refuse(rpc)

    def exchange(self, rpc: Any, seconds: Any) -> Any:
        raise self._refuse(rpc)

    async def sleep(self, seconds: float) -> None: ...

    async def offload(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    async def close(self) -> None: ...


def calls(folder: Path) -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    """Arguments that bring each method to its RPC."""
    (folder / "file.txt").write_text("x")
    return {
        "embed": (("x",), {"model": "m"}),
        "embed_stream": (("x",), {"model": "m"}),
        "tokenize": (("x",), {"model": "m"}),
        "classify": (("x",), {"model": "m"}),
        "classify_stream": (("x",), {"model": "m"}),
        "train_classifier": (("m", "s", [("a", "x"), ("b", "y")]), {}),
        "train_request": (("m", "s", [("a", "x"), ("b", "y")]), {}),
        "evaluate_classifier": (("m", [("a", "x")]), {}),
        "labeled_source": ((), {"upload": "uploads/1"}),
        "distill": (("t", "s"), {}),
        "distill_request": (("t", "s"), {}),
        "start": ((distillation_service_pb2.DistillRequest(),), {}),
        "estimate_cost": ((cost_service_pb2.Workload(),), {}),
        "estimate_accuracy": ((), {}),
        "estimate_ledger": ((), {}),
        "list_devices": ((), {}),
        "corpus_source": ((), {"upload": "uploads/1"}),
        "import_model": (("m",), {"upload": "uploads/1"}),
        "model_source": ((), {"upload": "uploads/1"}),
        "push": (("m", "a/b"), {}),
        "pull": (("a/b", "m"), {}),
        "verify": (("m",), {}),
        "collect_garbage": ((), {}),
        "list_models": ((), {}),
        "get_model": (("m",), {}),
        "update_model": (("m",), {}),
        "delete_model": (("m",), {}),
        "list_versions": (("m",), {}),
        "get_version": (("m",), {}),
        "delete_version": (("m@1",), {}),
        "set_alias": (("m", "a", 1), {}),
        "delete_alias": (("m", "a"), {}),
        "roll_back_alias": (("m", "a"), {}),
        "list_alias_events": (("m",), {}),
        "get_lineage": (("m",), {}),
        "download": (("m", folder / "new"), {}),
        "read_file": (("m", "config.json"), {}),
        "copy_model": (("m", Client(transport=Recorder())), {}),
        "upload": ((folder / "file.txt",), {}),
        "get_upload": (("uploads/1",), {}),
        "delete_upload": (("uploads/1",), {}),
        "get_operation": (("operations/1",), {}),
        "list_operations": ((), {}),
        "cancel_operation": (("operations/1",), {}),
        "delete_operation": (("operations/1",), {}),
        "wait_operation": (("operations/1",), {}),
        "watch_operation": (("operations/1",), {}),
        "server_info": ((), {}),
    }


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


# download asks for the version first; test_downloads covers the stream itself.
BEYOND_THE_FIRST_CALL = {rpcs.DOWNLOAD_MODEL_VERSION.path}


def test_every_rpc_is_reached_from_the_client(tmp_path: Path) -> None:
    recorder = Recorder()
    client = Client(transport=recorder)
    arguments = calls(tmp_path)
    assert arguments.keys() == public(Client) - {"close", "with_timeout"}
    for name, (args, kwargs) in arguments.items():
        try:
            answer = getattr(client, name)(*args, **kwargs)
            if not isinstance(answer, SOURCES):
                list(answer)
        except Unimplemented as error:
            assert error.message == "recorded"  # noqa: PT017 - the rest of the loop must go on
    assert recorder.seen | BEYOND_THE_FIRST_CALL == {rpc.path for rpc in rpcs.ALL}


def test_both_clients_reach_the_same_rpcs(tmp_path: Path) -> None:
    async def drive(recorder: Recorder) -> None:
        client = AsyncClient(transport=recorder)
        for name, (args, kwargs) in calls(tmp_path).items():
            answer = getattr(client, name)(*args, **kwargs)
            try:
                if isinstance(answer, Awaitable):
                    await answer
                else:
                    [item async for item in answer]
            except StillroomError:
                pass

    recorder = Recorder()
    asyncio.run(drive(recorder))
    assert recorder.seen | BEYOND_THE_FIRST_CALL == {rpc.path for rpc in rpcs.ALL}


@pytest.mark.parametrize(
    ("blocking", "asynchronous"), [(Client, AsyncClient), (Operation, AsyncOperation)]
)
def test_blocking_and_asyncio_have_the_same_methods(blocking: type, asynchronous: type) -> None:
    assert public(blocking) == public(asynchronous)
    for name in public(blocking):
        ours, theirs = getattr(blocking, name), getattr(asynchronous, name)
        assert bool(inspect.getdoc(ours)), name
        if callable(ours):
            one, other = inspect.signature(ours), inspect.signature(theirs)
            assert one.parameters.keys() == other.parameters.keys(), name


def test_an_operation_is_a_handle_of_its_face() -> None:
    message = operations_pb2.Operation(name="operations/1")
    started: Started[Any] = Started(Core(Recorder()), message)
    assert Operation(started).name == AsyncOperation(started).name == "operations/1"
    with pytest.raises(Unimplemented):
        Operation(started).cancel()
    pending = AsyncOperation(started).cancel()
    assert inspect.iscoroutine(pending)
    pending.close()


def test_public_names_exist_and_are_listed() -> None:
    for name in stillroom.__all__:
        assert getattr(stillroom, name) is not None
    assert set(dir(stillroom)) == set(stillroom.__all__)
    with pytest.raises(AttributeError):
        _ = stillroom.nonsense  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_distribution() -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == stillroom.__version__


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import stillroom", "grpc numpy google.protobuf rich typer"),
        ("from stillroom import Client, AsyncClient", "rich typer"),
        ("import stillroom.cli.app", "grpc numpy google.protobuf rich"),
    ],
)
def test_imports_stay_light(statement: str, forbidden: str) -> None:
    never = "onnxruntime torch transformers tokenizers stillroom_server stillroom_registry"
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & set(f"{never} {forbidden}".split())
