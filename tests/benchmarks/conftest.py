"""The benchmarks are no installed package: they are found at the root of the repository."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if str(ROOT) not in sys.path:
    # Behind the folder of the tests, whose own `benchmarks` is no package and so loses.
    sys.path.append(str(ROOT))
