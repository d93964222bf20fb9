"""The container files: what they copy exists, nothing runs as root, the health check is true."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from serving import Serving, serving

from docs import pages

DOCKERFILE = (pages.ROOT / "Dockerfile").read_text()
HEALTH = pages.ROOT / "deploy" / "health.py"


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    allowed = {
        line[1:]
        for line in (pages.ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (pages.ROOT / source).exists(), source
        assert source in allowed, source


def test_versions_are_those_of_the_project() -> None:
    with (pages.ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    torch = re.findall(r"torch==[\d.]+", DOCKERFILE)
    assert torch
    assert all(pin in extras["train"] for pin in torch)
    assert set(re.findall(r"'\.\[(\w+)\]'", DOCKERFILE)) == {"server", "train"}


def test_images_are_pinned_and_do_not_run_as_root() -> None:
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)
    names = {name for _, name in stages}
    bases = {base for base, _ in stages if base not in names}
    assert bases == {"python:3.11-slim-bookworm"}
    assert {"serve", "train"} <= names
    assert re.search(r"^USER (?!0|root)\d+", DOCKERFILE, re.MULTILINE)
    serve = DOCKERFILE.partition("AS build-serve")[2].partition("\nFROM ")[0]
    assert "torch" not in serve


def is_serving(**environment: str) -> bool:
    """What the script finds with this environment."""
    found: bool = runpy.run_path(str(HEALTH))["is_serving"](environment)
    return found


def test_health_is_what_the_server_says(server: Serving) -> None:
    assert is_serving(STILLROOM_ADDRESS=server.address)
    port = server.address.rpartition(":")[2]
    assert is_serving(STILLROOM_ADDRESS=f"0.0.0.0:{port}")


def test_no_health_is_exit_status_1() -> None:
    done = subprocess.run(
        [sys.executable, str(HEALTH)],
        env={"STILLROOM_ADDRESS": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "UNAVAILABLE" in done.stderr


def test_health_over_tls_with_tokens(tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    certificate, key = certify(tmp_path, "stillroom.example.com")
    tokens = tmp_path / "tokens"
    tokens.write_text("me 0123456789abcdef\n")
    settings = {"tls_certificate": certificate, "tls_key": key, "token_file": tokens}
    with serving(tmp_path / "data", **settings) as running:
        secure = {
            "STILLROOM_ADDRESS": running.address,
            "STILLROOM_TLS_CERTIFICATE": str(certificate),
        }
        assert is_serving(**secure, HEALTH_TLS_NAME="stillroom.example.com")
        with pytest.raises(grpc.RpcError):
            is_serving(**secure, HEALTH_TLS_NAME="other.example.com")


def certify(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for ``name`` and its key, as PEM files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private
