"""docs/protocol.md against the protos, the servicers and every error that the source raises."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import code_pb2
from grpc_status import rpc_status
from serving import Details, Serving

from docs import pages, reasons
from stillroom_server.rpc.services import SERVICES

CODES = {value.name for value in code_pb2.DESCRIPTOR.enum_types_by_name["Code"].values}
PAGE = pages.ROOT / "docs" / "protocol.md"
# These end `stillroom serve` with a message; no client ever sees them.
AT_START = {
    *("ADDRESS_IN_USE", "METRICS_ADDRESS_IN_USE", "INVALID_ADDRESS", "INSECURE_BIND"),
    *("BAD_SETTING", "DATA_DIR_IN_USE", "DATA_DIR_NOT_USABLE", "JOURNAL_MODE", "SCHEMA_TOO_NEW"),
    *("CERTIFICATE_EXPIRED", "CERTIFICATE_NOT_YET_VALID", "INVALID_CERTIFICATE", "INVALID_KEY"),
    *("KEY_ENCRYPTED", "KEY_MISMATCH", "TLS_FILE_UNREADABLE"),
    *("TOKEN_FILE_UNREADABLE", "INVALID_TOKEN_FILE"),
    *("UNKNOWN_STUDENT_ENGINE", "UNKNOWN_TOKENIZER_ENGINE"),
}
METHODS = [method for service in SERVICES for method in service.methods]


def documented_rpcs() -> set[tuple[str, str]]:
    """(service, RPC) that are said to be served."""
    names = {service.name for service in SERVICES}
    return {
        (service, rpc.strip())
        for row in pages.rows(PAGE)
        if len(row) == 2 and (service := row[0].rpartition(".")[2]) in names
        for rpc in row[1].split(",")
    }


def is_implemented(server: Serving, method: MethodDescriptor) -> bool:
    """Whether an empty request is answered with anything but RPC_NOT_IMPLEMENTED."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    call: Any = getattr(
        server.channel,
        f"{'stream' if method.client_streaming else 'unary'}_"
        f"{'stream' if method.server_streaming else 'unary'}",
    )(path)
    try:
        answer = call(iter([b""]) if method.client_streaming else b"", timeout=60)
        if method.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        return Details(error).info.reason != "RPC_NOT_IMPLEMENTED"
    return True


def test_every_rpc_is_documented_and_served(server: Serving) -> None:
    missing = [method.full_name for method in METHODS if not is_implemented(server, method)]
    assert not missing
    assert documented_rpcs() == {(m.containing_service.name, m.name) for m in METHODS}


def documented_reasons() -> list[tuple[str, str]]:
    """(code, reason) of each reason in the tables of errors."""
    found = []
    for row in pages.rows(PAGE):
        if len(row) == 3 and row[0] in CODES:
            found += [(row[0], reason) for reason in re.findall(r"`([A-Z0-9_]+)`", row[1])]
    return found


def test_every_documented_reason_is_raised_with_that_code() -> None:
    raised = reasons.codes_by_reason()
    words = reasons.words()
    assert len(documented_reasons()) > 100
    for code, reason in documented_reasons():
        assert reason in words, f"{reason} is documented and nowhere in the source"
        codes = raised.get(reason)
        assert not codes or code in codes, f"{reason} is raised as {codes}, documented as {code}"


def test_every_reason_that_is_raised_is_documented() -> None:
    documented = {reason for _, reason in documented_reasons()}
    missing = reasons.codes_by_reason().keys() - documented - AT_START
    assert not missing, f"give each a row in docs/protocol.md: {sorted(missing)}"


def test_the_core_makes_its_statuses_as_documented(server: Serving) -> None:
    embed = server.channel.unary_unary("/stillroom.v1.EmbeddingService/Embed")
    nothing = server.channel.unary_unary("/stillroom.v1.EmbeddingService/Nothing")
    for call, code in [
        (lambda: embed(b"", metadata=(("x", "y" * 17_000),)), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (lambda: nothing(b""), grpc.StatusCode.UNIMPLEMENTED),
    ]:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is code
        assert rpc_status.from_call(caught.value) is None


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: page.name)
def test_reasons_that_other_pages_name_exist(page: Path) -> None:
    words = reasons.words() | CODES
    for name in re.findall(r"`([A-Z]+_[A-Z_]+)`", page.read_text()):
        if not name.startswith(("STILLROOM_", "HF_", "HEALTH_", "TORCH_", "GRPC_", "NOT_SERVING")):
            assert name in words, name
