"""What a serving process asks of the interpreter and the system."""

from __future__ import annotations

import subprocess
import sys

LIMITS = """
import resource
from stillroom_server.process import allow_open_files
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(64, hard), hard))
assert allow_open_files() == hard, resource.getrlimit(resource.RLIMIT_NOFILE)
"""
SETTLED = """
import gc
from stillroom_server.process import settle
gc.disable()
settle()
assert gc.isenabled() and gc.get_freeze_count() > 1000
"""
LIGHT = """
import gc, sys
from stillroom.cli.serve import serve
assert gc.isenabled()
try:
    serve(["--help"])
except SystemExit:
    pass
print(sorted({"typer", "torch", "scipy", "onnxruntime", "alembic"} & sys.modules.keys()))
"""


def run(code: str) -> str:
    """What a fresh interpreter prints: these change the whole process."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_soft_limit_of_open_files_becomes_the_hard_one() -> None:
    run(LIMITS)


def test_what_a_start_made_is_left_out_of_collections() -> None:
    run(SETTLED)


def test_serving_starts_without_what_it_does_not_need() -> None:
    assert run(LIGHT).splitlines()[-1] == "[]"
