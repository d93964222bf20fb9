"""Puts a report into the folder of its student: the figure, the card, stillroom.json."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stillroom_server.distillation.export.card import add_fidelity
from stillroom_server.distillation.export.manifest import reseal
from stillroom_server.distillation.fidelity import figure


def attach(
    folder: Path, report: Mapping[str, Any], between: Callable[[], None] = lambda: None
) -> None:
    """Writes fidelity.svg, fidelity.png and the card's section, and adds ``report`` to the metrics
    of stillroom.json, whose digests it takes again. Doing it again changes nothing else.

    ``report`` has the keys of this package, and what the recipe knows besides (``onnx_parity``,
    ``corpus``, ...). Raises DataLoss when stillroom.json cannot be read.
    """
    figure.draw(folder, report, between)
    add_fidelity(folder, report, figure.SVG)
    reseal(folder, metrics=report)
