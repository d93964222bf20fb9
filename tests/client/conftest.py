from __future__ import annotations

from collections.abc import Iterator

import pytest

from client.fake_server import EMBED, EMBED_STREAM, FakeServer, PatientTransport, fake_server
from client.fake_server import embed as good_embed
from client.fake_server import embed_stream as good_stream
from stillroom import Client


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TARGET", "TOKEN", "ROOT_CERTIFICATES"):
        monkeypatch.delenv(f"STILLROOM_{name}", raising=False)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A fake that embeds; everything else is for the test to script."""
    with fake_server() as fake:
        fake.on(EMBED, good_embed)
        fake.on(EMBED_STREAM, good_stream)
        yield fake


@pytest.fixture
def transport(server: FakeServer) -> PatientTransport:
    return PatientTransport(server.target)


@pytest.fixture
def client(transport: PatientTransport) -> Iterator[Client]:
    with Client(transport=transport) as made:
        yield made
