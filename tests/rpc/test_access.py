"""Who may connect and who may ask: TLS, client certificates, tokens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from serving import Details, serving

from stillroom.v1 import server_service_pb2 as pb
from stillroom.v1.server_service_pb2_grpc import ServerServiceStub
from stillroom_registry.errors import FailedPrecondition, InvalidArgument

TOKEN = "a-token-of-sufficient-length"


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    key_file.chmod(0o600)
    return certificate_file, key_file


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pki")
    certificate, key = make_certificate(folder, "server")
    client, client_key = make_certificate(folder, "client")
    tokens = folder / "tokens"
    tokens.write_text(f"# who may ask\nalice {TOKEN}\n")
    tokens.chmod(0o600)
    return {
        "certificate": certificate,
        "key": key,
        "client": client,
        "client_key": client_key,
        "tokens": tokens,
    }


@pytest.fixture(scope="module")
def address(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that listens on every interface, as it may with TLS and tokens."""
    with serving(
        tmp_path_factory.mktemp("data"),
        address="0.0.0.0:0",
        tls_certificate=files["certificate"],
        tls_key=files["key"],
        token_file=files["tokens"],
    ) as running:
        yield running.address.replace("0.0.0.0", "127.0.0.1")


@pytest.fixture
def channel(address: str, files: dict[str, Path]) -> Iterator[grpc.Channel]:
    credentials = grpc.ssl_channel_credentials(files["certificate"].read_bytes())
    with grpc.secure_channel(address, credentials) as channel:
        yield channel


def info(channel: grpc.Channel, token: str | None) -> pb.GetServerInfoResponse:
    metadata = [("authorization", f"Bearer {token}")] if token is not None else []
    answer: pb.GetServerInfoResponse = ServerServiceStub(channel).GetServerInfo(
        pb.GetServerInfoRequest(), metadata=metadata, timeout=60
    )
    return answer


def test_a_known_token_is_let_in(channel: grpc.Channel) -> None:
    assert info(channel, TOKEN).version


@pytest.mark.parametrize("token", [None, "", "wrong-token-of-that-length", TOKEN + "x"])
def test_others_are_not_and_hear_nothing_back(channel: grpc.Channel, token: str | None) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        info(channel, token)
    details = Details(caught.value)
    assert details.code is grpc.StatusCode.UNAUTHENTICATED
    assert not token or token not in details.message


def test_every_other_service_asks_too_but_health_does_not(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest()).status
    reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    with pytest.raises(grpc.RpcError) as caught:
        list(reflection.ServerReflectionInfo(iter([request])))
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED  # type: ignore[attr-defined]
    metadata = [("authorization", f"Bearer {TOKEN}")]
    found = list(reflection.ServerReflectionInfo(iter([request]), metadata=metadata))
    names = {service.name for service in found[0].list_services_response.service}
    assert "stillroom.v1.EmbeddingService" in names


def test_plain_text_is_not_understood(address: str) -> None:
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        info(channel, TOKEN)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE  # type: ignore[attr-defined]


def test_a_client_certificate_is_asked_for(files: dict[str, Path], tmp_path: Path) -> None:
    with serving(
        tmp_path,
        tls_certificate=files["certificate"],
        tls_key=files["key"],
        tls_client_ca=files["client"],
    ) as running:
        root = files["certificate"].read_bytes()
        own = files["client_key"].read_bytes(), files["client"].read_bytes()
        with grpc.secure_channel(
            running.address, grpc.ssl_channel_credentials(root, *own)
        ) as channel:
            assert info(channel, None).version
        with (
            grpc.secure_channel(running.address, grpc.ssl_channel_credentials(root)) as channel,
            pytest.raises(grpc.RpcError),
        ):
            info(channel, None)


@pytest.mark.parametrize("given", [(), ("tls",), ("tokens",)])
def test_an_open_bind_is_refused(
    given: tuple[str, ...], files: dict[str, Path], tmp_path: Path
) -> None:
    settings: dict[str, object] = {"address": "0.0.0.0:0"}
    if "tls" in given:
        settings |= {"tls_certificate": files["certificate"], "tls_key": files["key"]}
    if "tokens" in given:
        settings["token_file"] = files["tokens"]
    with pytest.raises(FailedPrecondition) as caught, serving(tmp_path, **settings):
        pass
    assert caught.value.reason == "INSECURE_BIND"


def test_an_open_bind_can_be_insisted_on(tmp_path: Path) -> None:
    with (
        serving(tmp_path, address="0.0.0.0:0", allow_insecure=True) as running,
        grpc.insecure_channel(running.address.replace("0.0.0.0", "127.0.0.1")) as channel,
    ):
        assert info(channel, None).version


def test_open_metrics_are_refused(tmp_path: Path) -> None:
    open_metrics = serving(tmp_path, metrics_address="0.0.0.0:0")
    with pytest.raises(FailedPrecondition) as caught, open_metrics:
        pass
    assert caught.value.field == "metrics_address"


def test_a_key_of_another_certificate_is_named(files: dict[str, Path], tmp_path: Path) -> None:
    mixed = {"tls_certificate": files["certificate"], "tls_key": files["client_key"]}
    with pytest.raises(InvalidArgument) as caught, serving(tmp_path, **mixed):
        pass
    assert caught.value.reason == "KEY_MISMATCH"
