"""The curves and bars of a report, drawn from its figures alone."""

from __future__ import annotations

from collections.abc import Sequence

from stillroom_server.classification.report import svg, words
from stillroom_server.classification.report.svg import Frame, Point
from stillroom_server.classification.report.words import Json, items, number, share, whole

_MOST_POINTS = 400  # of a curve
_MOST_BARS = 40
_STRIP = 56.0  # height of the counts beneath the reliability curve


def reliability(report: Json) -> str:
    """Share that was right over confidence, and beneath it how many had that confidence."""
    bins = items(report.get("calibration"), "bins")
    filled = [entry for entry in bins if whole(entry.get("count"))]
    if not filled:
        return ""
    frame = Frame(
        (0.0, 1.0), (0.0, 1.0), "confidence", "share that was right", bottom=44.0 + _STRIP
    )
    frame.line([(0.0, 0.0), (1.0, 1.0)], "muted dashed")
    points = [
        (number(entry.get("mean_confidence")) or 0.0, number(entry.get("accuracy")) or 0.0)
        for entry in filled
    ]
    frame.line(points, "accent")
    most = max(whole(entry.get("count")) for entry in filled)
    floor = frame.top + frame.height + 44.0 + _STRIP - 4.0
    for entry, point in zip(filled, points, strict=True):
        low, high = number(entry.get("lower")) or 0.0, number(entry.get("upper")) or 0.0
        said = (
            f"{low:.3g} to {high:.3g}: {words.count(entry['count'])} answers, "
            f"mean confidence {point[0]:.4f}, right {point[1]:.4f}"
        )
        frame.dot(point, "accent", said)
        height = max(1.0, (_STRIP - 10.0) * whole(entry["count"]) / most)
        frame.parts.append(
            f'<rect class="accent soft" x="{svg.n(frame.x(low) + 1)}" '
            f'y="{svg.n(floor - height)}" height="{svg.n(height)}" '
            f'width="{svg.n(max(1.0, frame.x(high) - frame.x(low) - 2))}">{svg.titled(said)}</rect>'
        )
    return frame.draw("Reliability curve: share that was right over confidence.")


def abstention(report: Json) -> str:
    """Accuracy of what is answered over how much is answered."""
    found = report.get("abstention") or {}
    points = [
        (number(point.get("coverage")) or 0.0, number(point["accuracy"]) or 0.0, point)
        for point in items(found, "curve")
        if point.get("accuracy") is not None
    ]
    if not points:
        return ""
    low = min(right for _, right, _ in points)
    floor = max(0.0, min(0.95, int(low * 20) / 20))
    frame = Frame(
        (0.0, 1.0),
        (floor, 1.0),
        "texts that are answered",
        "answers that are right",
        percent_x=True,
        percent_y=True,
    )
    frame.line([(covered, right) for covered, right, _ in points], "accent")
    for covered, right, point in points:
        threshold = number(point.get("threshold")) or 0.0
        said = f"threshold {threshold:.4g}: {share(covered)} answered, {share(right)} right"
        frame.dot((covered, right), "accent", said, 2.0)
    chosen = number(found.get("accuracy"))
    if chosen is not None:
        threshold = number(found.get("threshold")) or 0.0
        covered = number(found.get("coverage")) or 0.0
        said = f"at {threshold:.4g}: {share(covered)} answered, {share(chosen)} right"
        frame.dot((covered, max(floor, chosen)), "second", said, 5.0)
    return frame.draw("Abstention curve: accuracy of the answers over the share answered.")


def label_bars(report: Json) -> str:
    """F1 of each label; of many, those where it is lowest."""
    entries = words.worst_first(report)[:_MOST_BARS]
    if not entries:
        return ""
    left, width, step = 210.0, 300.0, 18.0
    parts = []
    for index, entry in enumerate(entries):
        name = svg.short(entry.get("label", ""), 300)
        value = number(entry["f1"]) or 0.0
        y = 6.0 + index * step
        said = (
            f"{name}: F1 {value:.4f}, precision {words.figure(entry.get('precision')) or 'none'}, "
            f"recall {words.figure(entry.get('recall')) or 'none'}, "
            f"{words.count(entry.get('support'))} texts"
        )
        parts.append(
            f"<g>{svg.titled(said)}"
            + svg.label(left - 8, y + 11, svg.short(name, 30), "end")
            + f'<rect class="grid fill" x="{svg.n(left)}" y="{svg.n(y)}" width="{svg.n(width)}" '
            f'height="13"/><rect class="accent" x="{svg.n(left)}" y="{svg.n(y)}" '
            f'width="{svg.n(width * min(1.0, value))}" height="13"/>'
            + svg.label(left + width + 8, y + 11, f"{value:.3f}", "muted")
            + "</g>"
        )
    return svg.drawing(left + width + 60, 12 + step * len(entries), "F1 of each label.", parts)


def training(report: Json | None) -> list[str]:
    """Loss and accuracy by epoch; nothing where a solver fitted the head."""
    epochs = items(report, "epochs")
    best = whole((report or {}).get("best_epoch"))
    curves = (
        ("loss", (("training_loss", "muted", "training"), ("validation_loss", "accent", ""))),
        ("accuracy", (("validation_accuracy", "accent", ""),)),
    )
    return [plot for name, lines in curves if (plot := _epochs(epochs, name, lines, best))]


def _epochs(
    epochs: Sequence[Json], name: str, lines: Sequence[tuple[str, str, str]], best: int
) -> str:
    series: list[tuple[list[Point], str, str]] = []
    for key, kind, said in lines:
        points = [
            (float(whole(entry.get("epoch"))), value)
            for entry in epochs
            if (value := number(entry.get(key, 0))) is not None
        ]
        if points:
            series.append((_thinned(points), kind, said or "validation"))
    if not series:
        return ""
    every = [point for points, _, _ in series for point in points]
    last = max(2.0, max(x for x, _ in every))
    lowest, highest = min(y for _, y in every), max(y for _, y in every)
    spare = (highest - lowest) * 0.06 or 0.01
    percent = name == "accuracy"
    top = min(1.0, highest + spare) if percent else highest + spare
    low = max(0.0, lowest - spare)
    frame = Frame((1.0, last), (low, top), "epoch", name, percent_y=percent, least_step=1.0)
    if len(series) > 1:
        frame.key([(kind, said) for _, kind, said in series])
    for points, kind, said in series:
        frame.line(points, kind)
        frame.dot(points[-1], kind, f"{said}, epoch {points[-1][0]:g}: {points[-1][1]:.4f}", 3.0)
        for point in points:
            if point[0] == best and said == "validation":
                frame.dot(point, "second", f"kept: epoch {best}, {point[1]:.4f}", 5.0)
    return frame.draw(f"Training curve: {name} by epoch.")


def _thinned(points: list[Point]) -> list[Point]:
    step = -(-len(points) // _MOST_POINTS)
    return points if step < 2 else [*points[:-1:step], points[-1]]
