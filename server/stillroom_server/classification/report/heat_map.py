"""The confusion matrix as a picture: a row a true label, a column a given one."""

from __future__ import annotations

import math

from stillroom_server.classification.report import svg
from stillroom_server.classification.report.words import Json, count, items, whole

MOST_NAMED = 100  # labels: with more the names would be too small to read
_MOST_TITLED = 4000  # cells: with more their titles would fill the page
_LEVELS = 8
_SIDE = 640.0  # pixels, of the matrix


def heat_map(report: Json) -> str:
    """Right answers in one color and wrong ones in another, the stronger the greater the share of
    the texts with that label; empty where there is no matrix."""
    matrix = report.get("confusion") or {}
    names = [str(name) for name in matrix.get("labels") or ()]
    cells = _cells(matrix, len(names))
    if not names or not cells:
        return ""
    texts = [0] * len(names)
    for true, _, number in cells:
        texts[true] += number
    named = len(names) <= MOST_NAMED
    side = min(28.0, _SIDE / len(names))
    left = 190.0 if named else 30.0
    if named and len(cells) <= _MOST_TITLED:
        drawn = [
            f'<rect class="{"accent" if true == given else "second"}" '
            f'fill-opacity="{_level(true, given, number / texts[true]) / _LEVELS:.3g}" '
            f'x="{svg.n(left + given * side)}" y="{svg.n(true * side)}" '
            f'width="{svg.n(side)}" height="{svg.n(side)}">'
            f"{svg.titled(f'{names[true]} given {names[given]}: {count(number)}')}</rect>"
            for true, given, number in cells
        ]
    else:
        drawn = [_paths(cells, texts, f"translate({svg.n(left)}) scale({side:.5g})")]
    width = side * len(names)
    frame = f'<rect class="frame" x="{svg.n(left)}" y="0" width="{svg.n(width)}" '
    drawn.append(frame + f'height="{svg.n(width)}"/>')
    bottom = 190.0 if named else 30.0
    if named:
        small = f' style="font-size:{min(12.0, side * 0.9):.3g}px"'
        for index, name in enumerate(names):
            place, said = (index + 0.75) * side, svg.short(name, 32)
            turned = f' transform="rotate(-90 {svg.n(left + place)} {svg.n(width + 6)})"{small}'
            drawn.append(svg.label(left - 6, place, said, "end", small))
            drawn.append(svg.label(left + place, width + 6, said, "end", turned))
    drawn.append(svg.label(left + width / 2, width + bottom - 6, "given label", "middle"))
    spot = f"12 {svg.n(width / 2)}"
    turned = f' transform="rotate(-90 {spot})"'
    drawn.append(svg.label(12, width / 2, "true label", "middle", turned))
    return svg.drawing(left + width + 10, width + bottom, "Confusion matrix.", drawn)


def _cells(matrix: Json, labels: int) -> list[tuple[int, int, int]]:
    """(true, given, texts) of the cells, those with indices of no label left out; proto's JSON
    leaves out what is 0."""
    found = [
        (whole(cell.get("true_index")), whole(cell.get("given_index")), whole(cell.get("count")))
        for cell in items(matrix, "cells")
    ]
    return [cell for cell in found if max(cell[:2]) < labels and min(cell[:2]) >= 0 < cell[2]]


def _level(true: int, given: int, share: float) -> int:
    """The color of a cell, from 1; of mistakes by the root, so that rare ones differ, too."""
    return max(1, round(_LEVELS * (share if true == given else math.sqrt(share))))


def _paths(cells: list[tuple[int, int, int]], texts: list[int], placed: str) -> str:
    """Cells as squares of 1 x 1, those of a color in one path each: a tenth of the bytes."""
    paths: dict[tuple[str, int], list[str]] = {}
    for true, given, number in cells:
        key = ("accent" if true == given else "second", _level(true, given, number / texts[true]))
        paths.setdefault(key, []).append(f"M{given} {true}h1v1h-1z")
    parts = [
        f'<path class="{kind}" fill-opacity="{level / _LEVELS:.3g}" d="{"".join(squares)}"/>'
        for (kind, level), squares in sorted(paths.items())
    ]
    return f'<g transform="{placed}">{"".join(parts)}</g>'
