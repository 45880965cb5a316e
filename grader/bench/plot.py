"""A line plot as SVG: both axes logarithmic, the points marked, each line named at its end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 80, 130, 40, 50
COLOURS = ("#0072b2", "#d55e00", "#555555")  # told apart by the colour-blind too


@dataclass(frozen=True)
class Line:
    name: str
    points: tuple[tuple[float, float], ...]  # all greater than 0


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


class _Axis:
    """Maps a number to pixels, by its logarithm."""

    def __init__(self, low: float, high: float, begin: float, end: float):
        self.low, self.begin = log10(low), begin
        self.scale = (end - begin) / (log10(high) - self.low or 1)

    def __call__(self, value: float) -> float:
        return round(self.begin + (log10(value) - self.low) * self.scale, 1)


def plot(title: str, across: str, up: str, lines: Iterable[Line]) -> str:
    lines = list(lines)
    xs = sorted({x for line in lines for x, _ in line.points})
    ys = [y for line in lines for _, y in line.points]
    decades = [10.0**n for n in range(floor(log10(min(ys))), ceil(log10(max(ys))) + 1)]
    x = _Axis(xs[0], xs[-1], LEFT, WIDTH - RIGHT)
    y = _Axis(decades[0], decades[-1], HEIGHT - BOTTOM, TOP)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, title, "start", 'font-size="14"'),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, across),
        _text(16, HEIGHT / 2, up, more=f'transform="rotate(-90 16 {HEIGHT / 2:g})"'),
        *(_tick_across(x(value), _number(value)) for value in xs),
        *(_tick_up(y(value), _number(value)) for value in decades),
        *(part for line, colour in zip(lines, COLOURS) for part in _drawn(line, colour, x, y)),
        "</svg>\n",
    ])


def _text(x: float, y: float, text: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" {more}>{escape(text)}</text>'


def _tick_across(at: float, text: str) -> str:
    return f'<path d="M{at:g} {HEIGHT - BOTTOM}v5" stroke="black"/>{_text(at, HEIGHT - BOTTOM + 18, text)}'


def _tick_up(at: float, text: str) -> str:
    return f'<path d="M{LEFT} {at:g}H{WIDTH - RIGHT}" stroke="#ddd"/>{_text(LEFT - 6, at + 4, text, "end")}'


def _drawn(line: Line, colour: str, x: _Axis, y: _Axis) -> Iterable[str]:
    at = [(x(a), y(b)) for a, b in line.points]
    way = " ".join(f"{a:g},{b:g}" for a, b in at)
    yield f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>'
    yield from (f'<circle cx="{a:g}" cy="{b:g}" r="3" fill="{colour}"/>' for a, b in at)
    yield _text(at[-1][0] + 8, at[-1][1] + 4, line.name, "start", f'fill="{colour}"')
