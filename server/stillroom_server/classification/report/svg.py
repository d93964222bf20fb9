"""The little SVG that the plots need: a frame with axes, lines, dots and bars.

Colors are classes of the page's style, so that one drawing suits light and dark; every text is
escaped here.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

Point = tuple[float, float]
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")


def text(value: object) -> str:
    """Escaped for HTML and SVG; what neither may hold is replaced."""
    clean = _CONTROL.sub("\ufffd", str(value)).encode("utf-8", "replace").decode()
    return html.escape(clean, quote=True)


def short(value: object, most: int) -> str:
    """At most so many characters, an ellipsis the last of a text that was cut."""
    whole = str(value)
    return whole if len(whole) <= most else whole[: most - 1] + "\u2026"


def n(value: float) -> str:
    """A coordinate: a tenth of a pixel is enough."""
    return f"{value:.1f}".removesuffix(".0")


def drawing(width: float, height: float, said: str, parts: Sequence[str]) -> str:
    """The element; ``said`` is what it shows, for who does not see it."""
    return (
        f'<svg viewBox="0 0 {n(width)} {n(height)}" width="{n(width)}" role="img" '
        f'aria-label="{text(said)}">{"".join(parts)}</svg>'
    )


def label(x: float, y: float, said: object, kind: str = "", extra: str = "") -> str:
    """Text at a point; ``kind``: classes that place it (end, middle) or color it."""
    return f'<text x="{n(x)}" y="{n(y)}" class="{kind}"{extra}>{text(said)}</text>'


def titled(said: object) -> str:
    """What shows while the pointer rests on the element that this stands in."""
    return f"<title>{text(said)}</title>"


@dataclass
class Frame:
    """Axes of ``width`` x ``height`` pixels over ranges of values, (least, greatest), and what is
    drawn on them."""

    x_range: Point
    y_range: Point
    x_name: str
    y_name: str
    width: float = 380.0
    height: float = 260.0
    percent_x: bool = False
    percent_y: bool = False
    least_step: float = 0.0  # between ticks of x
    parts: list[str] = field(default_factory=list)
    left: float = 58.0
    top: float = 14.0
    bottom: float = 44.0

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * self.width

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.top + (high - value) / (high - low) * self.height

    def line(self, points: Sequence[Point], kind: str) -> None:
        places = " ".join(f"{n(self.x(x))},{n(self.y(y))}" for x, y in points)
        self.parts.append(f'<polyline class="line {kind}" points="{places}"/>')

    def dot(self, point: Point, kind: str, said: str, radius: float = 3.5) -> None:
        self.parts.append(
            f'<circle class="{kind}" cx="{n(self.x(point[0]))}" cy="{n(self.y(point[1]))}" '
            f'r="{n(radius)}">{titled(said)}</circle>'
        )

    def key(self, entries: Sequence[tuple[str, str]]) -> None:
        """What the lines are, at the upper right: (class, what it is)."""
        x = self.left + self.width
        for index, (kind, said) in enumerate(entries):
            self.parts.append(label(x, self.top + 14 + 16 * index, said, f"end {kind}"))

    def draw(self, said: str) -> str:
        """The whole drawing, axes beneath."""
        parts = []
        for value in _ticks(*self.y_range):
            y = self.y(value)
            parts.append(
                f'<path class="grid" d="M{n(self.left)} {n(y)}h{n(self.width)}"/>'
                + label(self.left - 6, y + 4, _tick(value, self.percent_y), "end muted")
            )
        floor = self.top + self.height
        middle = self.top + self.height / 2
        parts += [
            *(
                label(self.x(value), floor + 16, _tick(value, self.percent_x), "middle muted")
                for value in _ticks(*self.x_range, self.least_step)
            ),
            label(self.left + self.width / 2, floor + 34, self.x_name, "middle"),
            label(13, middle, self.y_name, "middle", f' transform="rotate(-90 13 {n(middle)})"'),
        ]
        return drawing(
            self.left + self.width + 22, floor + self.bottom, said, [*parts, *self.parts]
        )


def _ticks(low: float, high: float, least: float = 0.0) -> list[float]:
    """Round values between, at most six, no closer than ``least``."""
    rough = max((high - low) / 5 * (1 - 1e-9), least)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _tick(value: float, percent: bool) -> str:
    return f"{100 * value:.3g} %" if percent else f"{value:.3g}"
