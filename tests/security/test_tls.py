"""The server's certificate: what is wrong with it is said at the start, and by setting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from stillroom_registry.errors import FailedPrecondition, InvalidArgument, StillroomError
from stillroom_server.security import certificates, tls

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
AUTHORITY, LEAF = (
    x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "leaf")
)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def certificate(
    key: Key,
    start: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    issuer: Key | None = None,
) -> bytes:
    built = (
        x509.CertificateBuilder()
        .subject_name(LEAF if issuer else AUTHORITY)
        .issuer_name(AUTHORITY)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .sign(issuer or key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


def pem(key: Key, password: bytes | None = None) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


KEY = new_key()
GOOD = certificate(KEY)


class Files:
    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "cert.pem"
        self.key = folder / "key.pem"
        self.client_ca = folder / "ca.pem"
        self.certificate.write_bytes(GOOD)
        self.key.write_bytes(pem(KEY))
        self.client_ca.write_bytes(GOOD)

    def load(self, **changes: Any) -> grpc.ServerCredentials:
        return tls.server_credentials(self.certificate, self.key, self.client_ca, **changes)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def says(
    load: Callable[[], object], kind: type[StillroomError], reason: str, field: str, path: Path
) -> None:
    with pytest.raises(kind) as caught:
        load()
    assert (caught.value.reason, caught.value.field) == (reason, f"tls_{field}")
    assert str(path) in caught.value.message
    assert "PRIVATE KEY-----\n" not in caught.value.message


@pytest.fixture
def serve() -> Iterator[Callable[[grpc.ServerCredentials], int]]:
    servers = []

    def start(credentials: grpc.ServerCredentials) -> int:
        server = grpc.server(futures.ThreadPoolExecutor(1))
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        servers.append(server)
        return port

    yield start
    for server in servers:
        server.stop(None).wait()


def connects(port: int, **client: bytes) -> bool:
    credentials = grpc.ssl_channel_credentials(root_certificates=GOOD, **client)
    options = [("grpc.ssl_target_name_override", "localhost")]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        try:
            channel.unary_unary("/x/y")(b"", timeout=30)
        except grpc.RpcError as error:
            return bool(error.code() == grpc.StatusCode.UNIMPLEMENTED)
    return True


def test_clients_trust_it(files: Files, serve: Callable[[grpc.ServerCredentials], int]) -> None:
    credentials = tls.server_credentials(files.certificate, files.key, None)
    assert connects(serve(credentials))


def test_clients_must_show_theirs(
    files: Files, serve: Callable[[grpc.ServerCredentials], int]
) -> None:
    port = serve(files.load())
    own = new_key()
    signed = certificate(own, issuer=KEY)
    assert connects(port, private_key=pem(own), certificate_chain=signed)
    assert not connects(port)
    stranger = new_key()
    assert not connects(port, private_key=pem(stranger), certificate_chain=certificate(stranger))


@pytest.mark.parametrize("field", ["certificate", "key", "client_ca"])
def test_a_missing_file_is_named(files: Files, field: str) -> None:
    path: Path = getattr(files, field)
    path.unlink()
    says(files.load, FailedPrecondition, "TLS_FILE_UNREADABLE", field, path)
    path.mkdir()
    says(files.load, FailedPrecondition, "TLS_FILE_UNREADABLE", field, path)


@pytest.mark.parametrize("field", ["certificate", "client_ca"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\xff\xfe\x00",
        pem(KEY),
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
        GOOD.replace(GOOD[-100:-60], b""),
        GOOD[:100],
    ],
)
def test_what_is_no_certificate(files: Files, field: str, content: bytes) -> None:
    path: Path = getattr(files, field)
    path.write_bytes(content)
    says(files.load, InvalidArgument, "INVALID_CERTIFICATE", field, path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        GOOD,
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        pem(KEY)[:80],
    ],
)
def test_what_is_no_key(files: Files, content: bytes) -> None:
    files.key.write_bytes(content)
    says(files.load, InvalidArgument, "INVALID_KEY", "key", files.key)


def test_the_key_of_another_certificate(files: Files) -> None:
    files.key.write_bytes(pem(new_key()))
    says(files.load, InvalidArgument, "KEY_MISMATCH", "key", files.key)
    files.key.write_bytes(pem(rsa.generate_private_key(65537, 2048)))
    says(files.load, InvalidArgument, "KEY_MISMATCH", "key", files.key)


def test_the_own_certificate_comes_first(files: Files) -> None:
    authority = new_key()
    own, chain = certificate(KEY, issuer=authority), certificate(authority)
    files.certificate.write_bytes(own + chain)
    files.load()
    files.certificate.write_bytes(chain + own)
    says(files.load, InvalidArgument, "KEY_MISMATCH", "key", files.key)


@pytest.mark.parametrize("password", [b"x", b"secret-password"])
def test_an_encrypted_key_asks_nobody(files: Files, password: bytes) -> None:
    files.key.write_bytes(pem(KEY, password))
    says(files.load, InvalidArgument, "KEY_ENCRYPTED", "key", files.key)


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        (NOW + DAY + timedelta(seconds=1), "CERTIFICATE_EXPIRED"),
        (NOW - DAY - timedelta(seconds=1), "CERTIFICATE_NOT_YET_VALID"),
    ],
)
def test_a_certificate_out_of_its_time(files: Files, when: datetime, reason: str) -> None:
    says(
        lambda: files.load(clock=lambda: when),
        FailedPrecondition,
        reason,
        "certificate",
        files.certificate,
    )


def test_both_ends_of_the_time_belong_to_it(files: Files) -> None:
    for when in (NOW - DAY, NOW + DAY):
        files.load(clock=lambda when=when: when)


def test_an_expired_chain_is_noticed(files: Files) -> None:
    authority = new_key()
    old = certificate(authority, NOW - 9 * DAY, NOW - DAY)
    files.certificate.write_bytes(certificate(KEY, issuer=authority) + old)
    says(files.load, FailedPrecondition, "CERTIFICATE_EXPIRED", "certificate", files.certificate)


def test_a_bundle_may_keep_old_authorities_beside_a_current_one(files: Files) -> None:
    old = certificate(new_key(), NOW - 9 * DAY, NOW - DAY)
    files.client_ca.write_bytes(old + GOOD)
    files.load()
    files.client_ca.write_bytes(old)
    says(files.load, FailedPrecondition, "CERTIFICATE_EXPIRED", "client_ca", files.client_ca)


@pytest.mark.parametrize("year", [1950, 1999, 2000, 2049, 2050, 2199])
def test_validity_is_what_another_library_reads(year: int) -> None:
    start = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    content = certificate(KEY, start, start + 400 * DAY)
    theirs = x509.load_pem_x509_certificate(content)
    (ours,) = certificates.validities(content)
    assert ours.not_before == theirs.not_valid_before_utc == start
    assert ours.not_after == theirs.not_valid_after_utc


def test_a_cut_certificate_is_an_error_wherever_it_is_cut() -> None:
    der = x509.load_pem_x509_certificate(GOOD).public_bytes(serialization.Encoding.DER)
    assert certificates.validity(der).not_after == NOW + DAY
    for length in range(len(der)):
        with pytest.raises(ValueError, match=r"certificate|tag|length"):
            certificates.validity(der[:length])
