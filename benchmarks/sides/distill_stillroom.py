"""Stillroom's distillation: ``... TEACHER OUTPUT DIMENSIONS (verify | table)``; prints a report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from stillroom_server.distillation.options import StaticOptions
from stillroom_server.distillation.recipe import distill_static

if __name__ == "__main__":
    _, teacher, output, dimensions, form = sys.argv
    options = StaticOptions(dimensions=int(dimensions))
    report = distill_static(Path(teacher), Path(output), options, verify=form == "verify")
    print(json.dumps({key: report[key] for key in ("compute_type", "vocabulary_size", "seconds")}))
