"""Generates the Python code of the protos: ``python protos/generate.py [OUTPUT]``.

OUTPUT (default: client/python) receives ``stillroom/v1`` and ``stillroom/internal/v1`` with typed
stubs. The result is committed; ``tests/protos`` compares it with a fresh run.
"""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent


def generate(output: Path) -> None:
    """Compiles every proto of ours into ``output``; SystemExit when protoc finds an error."""
    protos = sorted((ROOT / "protos").rglob("*.proto"))
    well_known = Path(protoc.__file__).parent / "_proto"
    programs = Path(sys.executable).parent  # not on PATH when run by the interpreter's path
    arguments = [
        "protoc",
        f"--plugin=protoc-gen-mypy={programs / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={programs / 'protoc-gen-mypy_grpc'}",
        f"--proto_path={ROOT / 'protos'}",
        f"--proto_path={ROOT / 'third_party'}",
        f"--proto_path={well_known}",
        f"--python_out={output}",
        f"--grpc_python_out={output}",
        f"--mypy_out=quiet:{output}",
        f"--mypy_grpc_out=quiet:{output}",
        *[str(proto) for proto in protos],
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protoc failed; see above")
    for proto in protos:
        if not any(line.startswith("service ") for line in proto.read_text().splitlines()):
            stem = output / proto.relative_to(ROOT / "protos").with_suffix("")
            for suffix in (".py", ".pyi"):  # protoc writes empty service modules too
                stem.with_name(f"{stem.name}_pb2_grpc{suffix}").unlink()
    for folder in ("stillroom/v1", "stillroom/internal", "stillroom/internal/v1"):
        package = output / folder / "__init__.py"
        package.write_text('"""Generated from the protos; do not edit."""\n')


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "client" / "python")
