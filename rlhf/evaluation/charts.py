"""Charts as inline SVG: no script, no font and no host needed; colours come from the page's CSS."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

Points = Sequence[tuple[float, float]]
_Scale = tuple[float, float, float, float]  # first and last tick, and where they are drawn

_WIDTH, _HEIGHT = 560, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 14, 36
_MOST_POINTS = 400
_MOST_NAMES = 10


def line_chart(
    series: Mapping[str, Points], *, label: str, across: str = "step", whole: bool = True
) -> Markup:
    """Lines over training steps; a value that is NaN or infinite leaves a gap.

    `across` names what runs from left to right, and `whole` says that it counts; `label` is read
    out in place of the picture. Lines are told apart by colour and by dashes.
    """
    thinned = {name: _thin(points) for name, points in series.items()}
    finite = [p for points in thinned.values() for p in points if _is_finite(p)]
    if not finite:
        return Markup("<p class='none'>No finite value to draw.</p>")
    x_ticks = ticks(min(x for x, _ in finite), max(x for x, _ in finite), whole=whole)
    y_ticks = ticks(min(y for _, y in finite), max(y for _, y in finite))
    right = _scale(x_ticks, _LEFT, _WIDTH - _RIGHT)
    down = _scale(y_ticks, _HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(x_ticks, y_ticks, right, down), _axis(across)]
    for number, points in enumerate(thinned.values()):
        for run in _runs(points):
            parts.append(_line([(_at(right, x), _at(down, y)) for x, y in run], number))
    return _chart_of(parts, label)


def point_chart(
    points: Mapping[str, tuple[float, float, str]], line: Points, *, label: str, across: str
) -> Markup:
    """Points with their names beside them, each of a class (`sure`, `open`, `bad`), and a line."""
    x_ticks, y_ticks = (
        ticks(min(0.0, *values), max(0.0, *values))
        for values in ([p[0] for p in points.values()], [p[1] for p in points.values()])
    )
    right = _scale(x_ticks, _LEFT, _WIDTH - _RIGHT)
    down = _scale(y_ticks, _HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(x_ticks, y_ticks, right, down), _axis(across)]
    if len(line) > 1:
        parts.append(_line([(_at(right, x), _at(down, y)) for x, y in line], 0))
    for name, (x, y, side) in points.items():
        parts.append(
            Markup(
                '<circle class="dot {side}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
                '<text class="tick" x="{t:.1f}" y="{y:.1f}" dy="-6">{name}</text>'
            ).format(side=side, x=_at(right, x), y=_at(down, y), t=_at(right, x) + 7, name=name)
        )
    return _chart_of(parts, label)


def interval_chart(low: float, value: float, high: float, bar: float, *, label: str) -> Markup:
    """A share from 0 to 1 with its interval, against the line it must pass."""
    x = {name: 20 + 520 * v for name, v in {"l": low, "v": value, "h": high, "b": bar}.items()}
    marks = Markup("").join(
        Markup(
            '<line class="grid" x1="{x}" x2="{x}" y1="24" y2="62"/>'
            '<text class="tick" x="{x}" y="80" text-anchor="middle">{t:.0%}</text>'
        ).format(x=20 + 520 * t, t=t)
        for t in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    return Markup(
        '<svg class="interval" viewBox="0 0 560 86" role="img" aria-label="{label}">{marks}'
        '<rect class="span {side}" x="{l:.1f}" y="34" width="{width:.1f}" height="18" rx="9"/>'
        '<line class="bar" x1="{b:.1f}" x2="{b:.1f}" y1="16" y2="66"/>'
        '<circle class="dot {side}" cx="{v:.1f}" cy="43" r="7"/></svg>'
    ).format(
        label=label,
        marks=marks,
        side="good" if low > bar else "bad" if high < bar else "open",
        width=max(2.0, x["h"] - x["l"]),
        **x,
    )


def share_chart(low: float, value: float, high: float, *, label: str) -> Markup:
    """A small interval of a share on the scale from 0 to 1, against one half."""
    left, dot, right = (4 + 112 * v for v in (low, value, high))
    return Markup(
        '<svg class="difference" viewBox="0 0 120 16" role="img" aria-label="{label}">'
        '<line class="grid" x1="60" x2="60" y1="0" y2="16"/>'
        '<line class="span {side}" x1="{l:.1f}" x2="{r:.1f}" y1="8" y2="8"/>'
        '<circle class="dot {side}" cx="{d:.1f}" cy="8" r="3.5"/></svg>'
    ).format(label=label, side="open" if low <= 0.5 <= high else "sure", l=left, r=right, d=dot)


def difference_chart(low: float, mean: float, high: float, *, label: str) -> Markup:
    """A small interval around a difference, on its own scale, against zero."""
    reach = max(abs(low), abs(high), 1e-12) * 1.15
    left, dot, right = (60 + 56 * v / reach for v in (low, mean, high))
    return Markup(
        '<svg class="difference" viewBox="0 0 120 16" role="img" aria-label="{label}">'
        '<line class="grid" x1="60" x2="60" y1="0" y2="16"/>'
        '<line class="span {side}" x1="{l:.1f}" x2="{r:.1f}" y1="8" y2="8"/>'
        '<circle class="dot {side}" cx="{d:.1f}" cy="8" r="3.5"/></svg>'
    ).format(label=label, side="open" if low <= 0 <= high else "sure", l=left, r=right, d=dot)


def column_chart(columns: Sequence[tuple[str, float]], *, label: str) -> Markup:
    """Named shares side by side, from zero to the largest."""
    if not columns:
        return Markup("<p class='none'>Nothing to draw.</p>")
    y_ticks = ticks(0.0, max(0.01, *(share for _, share in columns)))
    down = _scale(y_ticks, _HEIGHT - _BOTTOM, _TOP)
    step = (_WIDTH - _RIGHT - _LEFT) / len(columns)
    every = -(-len(columns) // _MOST_NAMES)
    parts = [*_percent_grid(y_ticks, down)]
    for number, (name, share) in enumerate(columns):
        left, top = _LEFT + number * step, _at(down, share)
        parts.append(
            Markup(
                '<rect class="column" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}">'
                "<title>{name}: {share:.1%}</title></rect>"
                '<text class="tick" x="{at:.1f}" y="{foot}" text-anchor="middle">{shown}</text>'
            ).format(
                x=left + 0.1 * step,
                y=top,
                w=0.8 * step,
                h=_HEIGHT - _BOTTOM - top,
                name=name,
                share=share,
                at=left + step / 2,
                foot=_HEIGHT - _BOTTOM + 18,
                shown=name if number % every == 0 else "",
            )
        )
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">{parts}</svg>'
    ).format(w=_WIDTH, h=_HEIGHT, label=label, parts=Markup("").join(parts))


def ticks(low: float, high: float, *, whole: bool = False, about: int = 5) -> list[float]:
    """Round numbers that enclose `low` to `high`, 1, 2 or 5 times a power of ten apart."""
    size = max(abs(low), abs(high))
    if high - low <= max(1e-9 * size, 1e-30):
        pad = 0.1 * size if size > 1e-30 else 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def tick_text(value: float, step: float) -> str:
    """As many decimals as the step between ticks needs."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or step < 1e-4:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{decimals}f}"


def _chart_of(parts: Sequence[Markup], label: str) -> Markup:
    return Markup(
        '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">{parts}</svg>'
    ).format(w=_WIDTH, h=_HEIGHT, label=label, parts=Markup("").join(parts))


def _grid(
    x_ticks: list[float], y_ticks: list[float], across: _Scale, down: _Scale
) -> Iterator[Markup]:
    for value in y_ticks:
        yield Markup(
            '<line class="grid" x1="{a}" x2="{b}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text class="tick" x="{t}" y="{y:.1f}" dy="4" text-anchor="end">{text}</text>'
        ).format(
            a=_LEFT,
            b=_WIDTH - _RIGHT,
            t=_LEFT - 8,
            y=_at(down, value),
            text=tick_text(value, y_ticks[1] - y_ticks[0]),
        )
    for value in x_ticks:
        yield Markup(
            '<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{text}</text>'
        ).format(
            x=_at(across, value),
            y=_HEIGHT - _BOTTOM + 18,
            text=tick_text(value, x_ticks[1] - x_ticks[0]),
        )


def _percent_grid(y_ticks: list[float], down: _Scale) -> Iterator[Markup]:
    decimals = 0 if y_ticks[1] >= 0.01 else 1
    for value in y_ticks:
        yield Markup(
            '<line class="grid" x1="{a}" x2="{b}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text class="tick" x="{t}" y="{y:.1f}" dy="4" text-anchor="end">{text}</text>'
        ).format(
            a=_LEFT,
            b=_WIDTH - _RIGHT,
            t=_LEFT - 8,
            y=_at(down, value),
            text=f"{value:.{decimals}%}",
        )


def _axis(name: str) -> Markup:
    return Markup('<text class="tick axis" x="{x}" y="{y}" text-anchor="end">{name}</text>').format(
        x=_WIDTH - _RIGHT, y=_HEIGHT - 4, name=name
    )


def _line(points: Sequence[tuple[float, float]], number: int) -> Markup:
    if len(points) == 1:
        ((x, y),) = points
        return Markup('<circle class="s{n}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>').format(
            n=number % 4, x=x, y=y
        )
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return Markup('<polyline class="line s{n}" points="{path}"/>').format(n=number % 4, path=path)


def _runs(points: Points) -> Iterator[list[tuple[float, float]]]:
    """Stretches of finite points."""
    run: list[tuple[float, float]] = []
    for point in points:
        if _is_finite(point):
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _thin(points: Points) -> Points:
    """At most a few hundred points: more than that no screen shows."""
    stride = -(-len(points) // _MOST_POINTS)
    return points if stride <= 1 else [*points[::stride], points[-1]]


def _is_finite(point: tuple[float, float]) -> bool:
    """Whether it can be drawn: near a float's end even differences overflow."""
    return all(abs(value) < 1e30 for value in point)  # false for NaN, too


def _scale(marks: list[float], start: float, end: float) -> _Scale:
    return marks[0], marks[-1], start, end


def _at(scale: _Scale, value: float) -> float:
    low, high, start, end = scale
    return start + (value - low) / (high - low) * (end - start)
