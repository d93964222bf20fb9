"""The report as a picture: fidelity.svg and fidelity.png.

Drawn from the report alone, so a stored report can be drawn again, and the same report gives the
same bytes with the same matplotlib: no dates, fixed ids, the font that matplotlib brings along.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

SVG = "fidelity.svg"
PNG = "fidelity.png"
_INK, _ACCENT, _SECOND, _GRID = "#333333", "#1f6f8b", "#d1603d", "#dddddd"
_STYLE: dict[RcKeyType, Any] = {
    "axes.edgecolor": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "grid.color": _GRID,
    "svg.fonttype": "none",  # letters, not outlines: a quarter of the size, and readable aloud
    "svg.hashsalt": "stillroom",
}


def draw(
    folder: Path, report: Mapping[str, Any], between: Callable[[], None] = lambda: None
) -> None:
    """Writes fidelity.svg and fidelity.png into ``folder``; panels without figures say so.

    ``between`` is called a few times (cancellation); the whole takes a second or two.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        between()
        figure = Figure(figsize=(9.0, 6.6))
        FigureCanvasAgg(figure)
        (cosines, grid), (prefixes, table) = figure.subplots(2, 2)
        figure.subplots_adjust(0.07, 0.07, 0.98, 0.9, wspace=0.18, hspace=0.34)
        distribution = report.get("distribution") or {}
        _cosines(cosines, report, distribution.get("cosines"))
        _similarities(grid, report, distribution.get("similarities"))
        _prefixes(prefixes, report.get("prefixes") or [])
        _quantizations(table, report.get("quantizations") or [])
        figure.suptitle(_title(report), fontsize=11, color=_INK)
        between()
        figure.savefig(folder / SVG, format="svg", metadata={"Date": None, "Creator": None})
        between()
        figure.savefig(folder / PNG, format="png", dpi=110, metadata={"Software": None})


def _title(report: Mapping[str, Any]) -> str:
    kind = "held-out" if report.get("text_source") == "held_out" else "built-in"
    return f"Student and teacher on {report.get('texts', 0):,} {kind} texts"


def _cosines(axes: Axes, report: Mapping[str, Any], counts: Mapping[str, Any] | None) -> None:
    axes.set_title("Cosine to the teacher")
    if not counts:
        _nothing(axes)
        return
    edges = np.linspace(counts["low"], counts["high"], len(counts["counts"]) + 1)
    axes.stairs(counts["counts"], edges, fill=True, color=_ACCENT)
    for name, style, label in (("mean_cosine", "-", "mean"), ("p5_cosine", ":", "5th percentile")):
        value = report.get(name)
        if value is not None:
            axes.axvline(value, color=_SECOND, linestyle=style, label=f"{label} {value:.3f}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", frameon=False)
    axes.set_ylabel("texts")
    where = {"teacher": "in the teacher's space", "aligned": "after a linear map"}
    axes.set_xlabel(f"cosine, {where.get(str(report.get('cosine_basis')), 'as they are')}")


def _similarities(axes: Axes, report: Mapping[str, Any], counts: Mapping[str, Any] | None) -> None:
    value = report.get("similarity_spearman")
    axes.set_title(
        "Similarity of pairs" + ("" if value is None else f" (Spearman's correlation {value:.3f})")
    )
    if not counts or not np.sum(counts["counts"]):
        _nothing(axes)
        return
    low, high = counts["low"], counts["high"]
    axes.grid(False)
    axes.imshow(
        np.log1p(np.array(counts["counts"], dtype=np.float64)),
        origin="lower",
        extent=(low, high, low, high),
        cmap="GnBu",
        interpolation="nearest",
        aspect="auto",
    )
    axes.plot([low, high], [low, high], color=_SECOND, linewidth=0.8, linestyle="--")
    axes.set_xlabel("by the teacher")
    axes.set_ylabel("by the student")


def _prefixes(axes: Axes, prefixes: list[Mapping[str, Any]]) -> None:
    axes.set_title("The first dimensions alone")
    sizes = [entry["dimensions"] for entry in prefixes]
    drawn = False
    for name, label, color in (
        ("similarity_spearman", "Spearman of similarities", _ACCENT),
        ("recall_at_10", "recall of neighbors", _SECOND),
    ):
        values = [entry.get(name) for entry in prefixes]
        if any(value is not None for value in values):
            heights = [np.nan if value is None else value for value in values]
            axes.plot(sizes, heights, color=color, marker="o", markersize=4, label=label)
            drawn = True
    if not drawn:
        _nothing(axes)
        return
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.0)
    axes.set_xlabel("dimensions")
    axes.legend(loc="best", frameon=False)


def _quantizations(axes: Axes, quantizations: list[Mapping[str, Any]]) -> None:
    axes.set_title("Stored in fewer bytes")
    axes.set_axis_off()
    if not quantizations:
        axes.text(0.5, 0.5, "not measured", ha="center", color=_INK)
        return
    cells = [
        [
            str(entry["element_type"]),
            f"{entry['bytes'] / 1e6:.1f} MB",
            _number(entry.get("mean_cosine"), ".5f"),
            _number(entry.get("spearman_change"), "+.4f").replace("-0.0000", "+0.0000"),
        ]
        for entry in quantizations
    ]
    table = axes.table(
        cells,
        colLabels=["type", "weights", "cosine", "change"],
        cellLoc="center",
        loc="upper center",
        edges="horizontal",
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    table.scale(1.0, 1.6)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _nothing(axes: Axes) -> None:
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes, color=_INK)
