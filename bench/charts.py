"""Charts as inline SVG: ratios with their intervals and bounds, and times."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, ROW = 960, 430, 30
MET = {True: "met", False: "missed", None: "open"}


@dataclass(frozen=True, slots=True)
class Interval:
    """One ratio: its median, its interval, and the bound with the part that the control widens it by."""

    name: str
    value: float
    low: float
    high: float
    bound: float
    widened: float
    met: bool | None


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to pixels, linear."""

    least: float
    most: float

    def __call__(self, value: float) -> float:
        share = (min(max(value, self.least), self.most) - self.least) / (self.most - self.least)
        return LABELS + share * (WIDTH - LABELS - 70)


def intervals(rows: Sequence[Interval]) -> str:
    """A row for each ratio: the interval as a line, the median as a dot, the bound as a tick."""
    values = [value for row in rows for value in (row.value, row.low, row.high, row.bound, row.widened)]
    scale = Scale(min(0.9, *values), min(max(1.2, *values), 2.0))
    parts = [_grid(scale, len(rows))]
    for number, row in enumerate(rows):
        y = ROW * number + 30
        edges = sorted((scale(row.bound), scale(row.widened)))
        parts += [
            _text(LABELS - 12, y + 4, row.name, "label"),
            f'<rect class="control" x="{edges[0]:.1f}" y="{y - 9}" width="{edges[1] - edges[0]:.1f}" height="18"/>',
            f'<line class="bound" x1="{scale(row.bound):.1f}" x2="{scale(row.bound):.1f}" y1="{y - 9}" y2="{y + 9}"/>',
            f'<line class="{MET[row.met]}" x1="{scale(row.low):.1f}" x2="{scale(row.high):.1f}" y1="{y}" y2="{y}"/>',
            f'<circle class="{MET[row.met]}" cx="{scale(row.value):.1f}" cy="{y}" r="5"/>',
            _text(WIDTH - 8, y + 4, f"{row.value:.2f}", "value"),
        ]
    return _svg(ROW * len(rows) + 50, parts)


def _grid(scale: Scale, rows: int) -> str:
    low, high = int(scale.least * 10), int(scale.most * 10) + 1
    step = 1 if high - low < 12 else 2
    found = []
    for tenth in range(low - low % step, high + 1, step):
        if scale.least <= tenth / 10 <= scale.most:
            x = scale(tenth / 10)
            kind = "one" if tenth == 10 else "grid"
            found.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="12" y2="{ROW * rows + 18}"/>')
            found.append(_text(x, ROW * rows + 36, f"{tenth / 10:.1f}", "tick"))
    return "".join(found)


def times(rows: Sequence[tuple[str, float, float]]) -> str:
    """A bar for each way's p50 in µs, with a tick at its p99 where that is on the scale."""
    scale = Scale(0, 1.6 * max(p50 for _, p50, _ in rows))
    parts = []
    for number, (name, p50, p99) in enumerate(rows):
        y = ROW * number + 20
        parts += [
            _text(LABELS - 12, y + 4, name, "label"),
            f'<rect class="bar" x="{LABELS}" y="{y - 9}" width="{scale(p50) - LABELS:.1f}" height="18" rx="2"/>',
            _text(scale(p50) + 8, y + 4, f"{p50:.1f} µs, p99 {p99:.0f}", "after"),
        ]
    return _svg(ROW * len(rows) + 10, parts)


def _svg(height: int, parts: Sequence[str]) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">{"".join(parts)}</svg>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


STYLE = """
@media (prefers-color-scheme: dark) { svg { color: #ddd } }
svg { width: 100%; max-width: 960px; font: 13px system-ui, sans-serif; }
text { fill: currentColor } .label, .value { text-anchor: end }
.tick { text-anchor: middle; opacity: .6 } .after { opacity: .8 }
.grid { stroke: #8883; } .one { stroke: #888; } .bound { stroke: currentColor; stroke-width: 2 }
.control { fill: #8884 } .bar { fill: #4c78a8 }
line.met, line.missed, line.open { stroke-width: 3; stroke-linecap: round }
.met { stroke: #2a9d5c; fill: #2a9d5c } .missed { stroke: #d1495b; fill: #d1495b } .open { stroke: #999; fill: #999 }
"""
