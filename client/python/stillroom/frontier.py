"""Ways to do the same work, as points: what each costs against how good its result is. Drawn with
characters, or as SVG; nothing here asks a server."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stillroom.cli import human
from stillroom.costs import Candidate, Estimate, Figure, Recommendation

_WIDTH, _HEIGHT = 720, 440
_LEFT, _TOP, _RIGHT, _BOTTOM = 80, 24, 24, 56
_MARKS = "123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Point:
    """A way to do the work: what it costs (dollars, or seconds) and how good its result is (a
    share), in the median, with the range of the first."""

    mark: str
    title: str
    cost: float
    low: float
    high: float
    quality: float
    ranked: bool
    on_frontier: bool


@dataclass(frozen=True)
class Points:
    """``in_money``: whether costs are dollars, as where all of them are known; else seconds.
    ``missing`` are the titles of those that cannot be drawn for want of a figure."""

    points: tuple[Point, ...]
    in_money: bool
    missing: tuple[str, ...]

    @property
    def axis(self) -> str:
        """What the costs are."""
        return "money" if self.in_money else "time"

    def label(self, cost: float) -> str:
        """A cost for people."""
        return human.money(cost) if self.in_money else human.precise_duration(cost)


def mark(place: int) -> str:
    """The sign of the candidate at ``place``: ranked ones first, then the rejected ones."""
    return _MARKS[place] if place < len(_MARKS) else "+"


def points(found: Recommendation) -> Points:
    """All candidates that can be drawn, in the order of the recommendation."""
    candidates: list[tuple[Candidate, bool]] = [
        *((item, True) for item in found.ranked),
        *((item.candidate, False) for item in found.rejected),
    ]
    in_money = bool(candidates) and all(
        item.estimate.money_usd.known for item, ranked in candidates if ranked
    )
    in_money = in_money and any(item.estimate.money_usd.known for item, _ in candidates)
    drawn: list[Point] = []
    missing: list[str] = []
    for place, (item, ranked) in enumerate(candidates):
        cost = _cost(item.estimate, in_money)
        quality = item.estimate.quality.p50
        if cost.p10 is None or cost.p50 is None or cost.p90 is None or quality is None:
            missing.append(item.estimate.title)
            continue
        drawn.append(
            Point(
                mark=mark(place),
                title=item.estimate.title,
                cost=cost.p50,
                low=cost.p10,
                high=cost.p90,
                quality=quality,
                ranked=ranked,
                on_frontier=item.on_frontier,
            )
        )
    return Points(tuple(drawn), in_money, tuple(missing))


def _cost(estimate: Estimate, in_money: bool) -> Figure:
    return estimate.money_usd if in_money else estimate.seconds


def text(found: Points, width: int = 64, height: int = 14) -> list[str]:
    """Lines of a plot: costs to the right on a logarithmic scale, quality upwards. Where several
    points fall together, the first is shown."""
    if not found.points:
        return []
    scale = _Scale(found.points, width - 1, height - 1)
    grid = [[" "] * width for _ in range(height)]
    for point in reversed(found.points):
        row = height - 1 - round(scale.up(point.quality))
        grid[row][round(scale.right(point.cost))] = point.mark
    labels = [f"{scale.top:.1%}", *[""] * (height - 2), f"{scale.bottom:.1%}"]
    lines = [
        f"{label:>7} |{''.join(row)}".rstrip() for label, row in zip(labels, grid, strict=True)
    ]
    low, high = found.label(scale.least), found.label(scale.most)
    lines.append(f"{'':7} +{'-' * width}")
    lines.append(f"{'':9}{low}{high:>{max(1, width - len(low))}}")
    lines.append(f"{'':9}{f'quality over {found.axis}, logarithmic':^{width}}".rstrip())
    return lines


def svg(found: Points) -> str:
    """The plot as a picture that needs nothing else: ranges as bars, rejected ways hollow, a line
    through those of the frontier that no cheaper one beats in quality."""
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    height = _HEIGHT + 20 * len(found.points)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="system-ui, sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{inner_width}" height="{inner_height}" '
        'fill="none" stroke="#bbb"/>',
    ]
    if found.points:
        scale = _Scale(found.points, inner_width, inner_height, ranges=True)
        parts += _axes(found, scale, inner_width, inner_height)
        parts += _drawn(found, scale, inner_height)
    else:
        parts.append(
            f'<text x="{_WIDTH / 2:g}" y="{_HEIGHT / 2:g}" text-anchor="middle" fill="#555">'
            "no way has both a known cost and a known quality</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


class _Scale:
    """Places of points in a frame; a logarithmic scale to the right, of one cost in its middle."""

    def __init__(
        self, drawn: Sequence[Point], width: float, height: float, *, ranges: bool = False
    ) -> None:
        self._width, self._height = width, height
        costs = [cost for p in drawn for cost in _costs(p, ranges) if cost > 0] or [1.0]
        self.least, self.most = min(costs), max(costs)
        qualities = [point.quality for point in drawn]
        self.bottom, self.top = min(qualities), max(qualities)

    def right(self, cost: float) -> float:
        """From the left edge."""
        span = math.log(self.most / self.least)
        part = math.log(max(cost, self.least) / self.least) / span if span else 0.5
        return self._width * part

    def up(self, quality: float) -> float:
        """From the lower edge."""
        span = self.top - self.bottom
        return self._height * ((quality - self.bottom) / span if span else 0.5)


def _costs(point: Point, ranges: bool) -> tuple[float, ...]:
    return (point.low, point.cost, point.high) if ranges else (point.cost,)


def _axes(found: Points, scale: _Scale, width: int, height: int) -> list[str]:
    below, middle = _TOP + height + 18, _LEFT + width / 2
    caption = f"{found.axis}, logarithmic; bars from the 10th to the 90th percentile"
    label: Callable[[float, float, str, str], str] = lambda x, y, anchor, text: (  # noqa: E731
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="#555">{_escaped(text)}</text>'
    )
    return [
        label(_LEFT, below, "start", found.label(scale.least)),
        label(_LEFT + width, below, "end", found.label(scale.most)),
        label(middle, below + 18, "middle", caption),
        label(_LEFT - 8, _TOP + 12, "end", f"{scale.top:.1%}"),
        label(_LEFT - 8, _TOP + height, "end", f"{scale.bottom:.1%}"),
        label(_LEFT - 8, _TOP + height / 2, "end", "quality"),
    ]


def _drawn(found: Points, scale: _Scale, height: int) -> list[str]:
    parts: list[str] = []

    def place(cost: float, quality: float) -> tuple[float, float]:
        return _LEFT + scale.right(cost), _TOP + height - scale.up(quality)

    best = _rising(found.points)
    if len(best) > 1:
        line = " ".join("{:.1f},{:.1f}".format(*place(p.cost, p.quality)) for p in best)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="#1f6f8b" stroke-dasharray="4 3"/>'
        )
    for row, point in enumerate(found.points):
        x, y = place(point.cost, point.quality)
        left, right = place(point.low, point.quality)[0], place(point.high, point.quality)[0]
        fill = "#1f6f8b" if point.ranked else "#fff"
        state = "" if point.ranked else ", rejected"
        known = f"{found.label(point.cost)}, {point.quality:.1%}{state}"
        parts += [
            f'<path d="M{left:.1f} {y:.1f} H{right:.1f}" stroke="#1f6f8b" stroke-opacity=".4"/>',
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="#1f6f8b"/>',
            f'<text x="{x + 8:.1f}" y="{y - 6:.1f}" fill="#222">{_escaped(point.mark)}</text>',
            f'<text x="{_LEFT}" y="{_HEIGHT + 12 + 20 * row}" fill="#222">'
            f"{_escaped(f'{point.mark}  {point.title}: {known}')}</text>",
        ]
    return parts


def _rising(drawn: Sequence[Point]) -> list[Point]:
    """Of the frontier, which knows of sizes and latencies too, those that no cheaper one beats in
    quality: what a line through the plot can show."""
    best: list[Point] = []
    for point in sorted(drawn, key=lambda p: (p.cost, -p.quality)):
        if point.on_frontier and (not best or point.quality > best[-1].quality):
            best.append(point)
    return best


def _escaped(value: str) -> str:
    return html.escape(value, quote=True)
