"""A real disk without a byte left, in each phase of a distillation and of a training."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from faults import small_disk, small_disk_trainings
from faults.processes import environment


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("module", [small_disk, small_disk_trainings], ids=lambda it: it.__name__)
def test_a_disk_that_fills_up_in_any_phase(tmp_path: Path, module: ModuleType) -> None:
    tool = shutil.which("unshare")
    if tool is None:
        pytest.skip("needs unshare")
    alone = [tool, "--user", "--map-root-user", "--mount"]
    mount = [*alone, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine allows no file systems of one's own")
    ran = subprocess.run(
        [*alone, sys.executable, "-m", module.__name__, str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found == dict.fromkeys(module.PHASES, "DISK_FULL")
