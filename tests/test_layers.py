"""Dependencies point one way, and light processes stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "server" / "stillroom_server"
HEAVY = (
    *("torch", "transformers", "onnx", "huggingface_hub", "sentence_transformers", "model2vec"),
    "matplotlib",
)


def imported_modules(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def loaded_after(statement: str) -> set[str]:
    return {name.partition(".")[0] for name in modules_after(statement)}


def test_the_registry_knows_neither_grpc_nor_the_server() -> None:
    for file in (ROOT / "registry").rglob("*.py"):
        for module in imported_modules(file):
            top = module.partition(".")[0]
            assert top not in {"grpc", "google", "stillroom", "stillroom_server", *HEAVY}, file


def test_the_domain_knows_no_protobuf() -> None:
    rooms = (
        *("classification", "cost", "inference", "distillation", "imports", "maintenance"),
        *("operations", "sync", "teachers", "uploads"),
    )
    for room in rooms:
        for file in (SERVER / room).rglob("*.py"):
            if file.parent.name == "transport":
                continue  # a process boundary within the room
            for module in imported_modules(file):
                assert not module.startswith(("grpc", "google.", "stillroom.")), (file, module)
                assert not module.startswith("stillroom_server.rpc"), (file, module)


def test_what_serves_does_not_know_what_distills() -> None:
    """Distillation measures students by the code that serves them, never the other way round."""
    for file in (SERVER / "inference").rglob("*.py"):
        for module in imported_modules(file):
            for room in ("classification", "distillation", "op"):
                assert not module.startswith(f"stillroom_server.{room}"), (file, module)


def test_requests_are_checked_without_what_trains() -> None:
    package = "stillroom_server.distillation.fidelity"
    assert not loaded_after(f"import {package}.gate, {package}.measure") & set(HEAVY)


def test_the_client_knows_no_server() -> None:
    allowed = ROOT / "client" / "python" / "stillroom" / "cli"
    for file in (ROOT / "client" / "python").rglob("*.py"):
        for module in imported_modules(file):
            if module.startswith("stillroom_server") and file.is_relative_to(allowed):
                continue  # `stillroom serve`, inside its function; the next test sees to that
            assert not module.startswith(("stillroom_server", "stillroom_registry")), file


@pytest.mark.parametrize("statement", ["import stillroom", "import stillroom.cli"])
def test_the_client_is_light(statement: str) -> None:
    heavy = {"onnxruntime", "scipy", "sqlalchemy", "stillroom_server", "stillroom_registry"}
    assert not loaded_after(statement) & {*heavy, *HEAVY}


def test_the_front_never_imports_what_trains() -> None:
    assert not loaded_after("import stillroom_server.app") & set(HEAVY)


def test_a_server_starts_without_what_estimates() -> None:
    """It would take a fifth longer."""
    loaded = modules_after("import stillroom_server.server, stillroom_server.rpc.services")
    assert not {name for name in loaded if name.startswith("stillroom_server.cost.")} - {
        "stillroom_server.cost.policy",
        "stillroom_server.cost.calibration",
        "stillroom_server.cost.calibration.contention",
    }
