from __future__ import annotations

import copy
import hashlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from distillation.export.test_card import REPORT

from stillroom_registry.errors import Cancelled
from stillroom_server.distillation.fidelity import figure


def drawn(folder: Path, report: dict) -> tuple[bytes, bytes]:
    folder.mkdir(exist_ok=True)
    figure.draw(folder, report)
    return (folder / figure.SVG).read_bytes(), (folder / figure.PNG).read_bytes()


def test_the_figure_is_small_readable_and_of_the_report_alone(tmp_path: Path) -> None:
    svg, png = drawn(tmp_path / "a", REPORT)
    assert drawn(tmp_path / "b", copy.deepcopy(REPORT)) == (svg, png)
    assert len(svg) < 150_000
    assert len(png) < 150_000
    assert png.startswith(b"\x89PNG")
    said = " ".join(ElementTree.fromstring(svg).itertext())
    for text in ("1,234 held-out texts", "mean 0.812", "correlation 0.700", "int8", "7.6 MB"):
        assert text in said
    other = drawn(tmp_path / "c", {**REPORT, "mean_cosine": 0.5})
    assert other[0] != svg
    assert other[1] != png


def test_another_process_draws_the_same_bytes(tmp_path: Path) -> None:
    svg, _ = drawn(tmp_path, REPORT)
    code = (
        "import json, sys; from pathlib import Path;"
        "from stillroom_server.distillation.fidelity.figure import draw;"
        "draw(Path(sys.argv[1]), json.loads(sys.argv[2]))"
    )
    other = tmp_path / "other"
    other.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONHASHSEED": "7",
        "SOURCE_DATE_EPOCH": "1",
    }
    subprocess.run(
        [sys.executable, "-c", code, str(other), json.dumps(REPORT)], check=True, env=environment
    )
    found = hashlib.sha256((other / figure.SVG).read_bytes()).hexdigest()
    assert found == hashlib.sha256(svg).hexdigest()


_NOTHING: dict = {"low": -1.0, "high": 1.0, "counts": [[0] * 40] * 40}
_BELOW_ZERO = {"dimensions": 8, "similarity_spearman": -0.2, "recall_at_10": None}


@pytest.mark.parametrize(
    ("report", "panels"),
    [
        ({}, 4),
        ({"distribution": {"cosines": None, "similarities": None}}, 4),
        ({**REPORT, "mean_cosine": None, "prefixes": [], "quantizations": []}, 2),
        ({"distribution": {"similarities": _NOTHING}, "prefixes": [_BELOW_ZERO]}, 3),
        ({"quantizations": [{"element_type": "int8", "bytes": 1, "mean_cosine": None}]}, 3),
    ],
)
def test_panels_without_figures_say_so(tmp_path: Path, report: dict, panels: int) -> None:
    svg, _ = drawn(tmp_path, report)
    assert svg.decode().count(">not measured<") == panels


def test_drawing_can_be_cancelled(tmp_path: Path) -> None:
    def cancel() -> None:
        raise Cancelled("asked")

    with pytest.raises(Cancelled):
        figure.draw(tmp_path, REPORT, cancel)
    assert not list(tmp_path.iterdir())
