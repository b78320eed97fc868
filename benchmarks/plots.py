"""Draw how cost grows, from what was measured, as SVG files that follow the page's colours.

    python benchmarks/plots.py docs/performance/growth.json docs/static
    python benchmarks/plots.py docs/performance/workers.json docs/static

Shown in the documents, a plot has their colours (``--picture-...`` in docs/conf.py); by itself, it is light or dark as
the reader's system is.
"""

import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import attrs

Row = dict[str, Any]

WIDTH: Final = 760
HEIGHT: Final = 400
LEFT, RIGHT, TOP, BOTTOM = 76, 132, 44, 56

COLOURS: Final = {"SmartProxy": "one", "haproxy": "two", "nginx": "three", "stunnel": "four"}
TITLES: Final = {"SmartProxy": "SmartProxy", "haproxy": "HAProxy", "nginx": "nginx", "stunnel": "stunnel"}
LIGHT: Final = {
    "ink": "#1f2d3d",
    "quiet": "#55616e",
    "rule": "#d0d7de",
    "one": "#0b5394",
    "two": "#b45309",
    "three": "#1b7f4b",
    "four": "#8e44ad",
}
DARK: Final = {
    "ink": "#e8edf3",
    "quiet": "#a9b4c0",
    "rule": "#3a414a",
    "one": "#7db7f0",
    "two": "#f0a35e",
    "three": "#6fd29b",
    "four": "#d3a6f0",
}


@attrs.frozen(kw_only=True)
class Plot:
    """One plot; both axes are logarithmic.

    :ivar curve: which measurements it is made of.
    :ivar value: the figure of one of them; ``None`` leaves it out.
    :ivar unit: writes a mark of the horizontal axis.
    """

    file: str
    title: str
    curve: str
    value: Callable[[Row], float | None]
    across: str
    unit: Callable[[float], str] = lambda x: f"{x:g}"


def _both(row: Row) -> float:
    return float(row["outer"] + row["inner"])


def _for_a_gigabyte(row: Row) -> float | None:
    return _both(row) / row["octets"] * 1e9 if row["octets"] else None


def _resident(row: Row) -> float | None:
    # A process grows in steps: with few sessions, these say more of the steps than of the sessions.
    return row.get("resident") if row["x"] >= 64 else None


def _octets(x: float) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if x >= size:
            return f"{x / size:g} {unit}"
    return f"{x:g}"


PLOTS: Final = (
    Plot(
        file="performance-buffers.svg",
        title="CPU seconds of both hops for each GB, 8 sessions",
        curve="buffers",
        value=_for_a_gigabyte,
        across="octets of an Exchange Buffer",
    ),
    Plot(
        file="performance-sessions.svg",
        title="CPU seconds of both hops for each GB, all sessions sending at once",
        curve="sessions",
        value=_for_a_gigabyte,
        across="sessions at the same time (buffers of 16384 octets)",
    ),
    Plot(
        file="performance-memory.svg",
        title="KiB of memory of both hops for each session that has just begun",
        curve="sessions",
        value=_resident,
        across="sessions at the same time",
    ),
    Plot(
        file="performance-sizes.svg",
        title="CPU milliseconds of both hops for each file",
        curve="sizes",
        value=lambda row: _both(row) / row["files"] * 1e3 if row["files"] else None,
        across="size of the file",
        unit=_octets,
    ),
)


ARRANGEMENTS: Final = {
    "haproxy": "HAProxy",
    "SmartProxy": "one process",
    "1 worker": "1 worker",
    "2 workers": "2 workers",
    "4 workers": "4 workers",
    "a process each": "a process for each",
}
"""What is compared in the plot of arrangements, from above, and what it is called there."""
STEP: Final = 32


@attrs.frozen(kw_only=True)
class Panel:
    """A half of the plot of arrangements: one figure of each, on a logarithmic axis."""

    title: str
    test: str
    value: Callable[[Row], float]
    start: int
    end: int


PANELS: Final = (
    Panel(
        title="CPU ms for a new session",
        test="new sessions",
        value=lambda row: _both(row) / row["sessions"] * 1e3,
        start=168,
        end=418,
    ),
    Panel(title="KiB for an idle session", test="idle sessions", value=_both, start=478, end=708),
)


@attrs.frozen
class Scale:
    """A logarithmic axis."""

    least: float
    most: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where a value is."""
        share = (math.log(value) - math.log(self.least)) / (math.log(self.most) - math.log(self.least))
        return self.start + share * (self.end - self.start)


def points(rows: Sequence[Row], plot: Plot) -> dict[str, list[tuple[float, float, float, float]]]:
    """For each program: x, median, least and most, in the order of x."""
    found: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        if row.get("curve") == plot.curve and row["pair"] in COLOURS:
            value = plot.value(row)
            if value is not None and value > 0:
                found.setdefault(row["pair"], {}).setdefault(row["x"], []).append(value)
    return {
        pair: [(x, statistics.median(values), min(values), max(values)) for x, values in sorted(curve.items())]
        for pair, curve in found.items()
    }


def marks(least: float, most: float) -> list[float]:
    """Values to write at an axis that go up in steps of 1, 2 and 5, or of 10 where those would be too many."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    found = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [value for value in found if least <= value <= most]


def draw(rows: Sequence[Row], plot: Plot) -> str:
    """A plot as SVG."""
    curves = points(rows, plot)
    xs = sorted({x for curve in curves.values() for x, *_ in curve})
    lows = [low for curve in curves.values() for _, _, low, _ in curve]
    highs = [high for curve in curves.values() for *_, high in curve]
    across = Scale(xs[0], xs[-1], LEFT, WIDTH - RIGHT)
    up = Scale(min(lows) / 1.15, max(highs) * 1.15, HEIGHT - BOTTOM, TOP)
    parts = [_head(plot.file, plot.title)]
    for value in marks(up.least, up.most):
        y = up.place(value)
        parts.append(f'<path class="line" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="mark" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    shown = math.inf
    for x in reversed(xs):
        place = across.place(x)
        if shown - place < 46:
            continue
        shown = place
        parts.append(f'<path class="line" d="M{place:.1f} {HEIGHT - BOTTOM}v5"/>')
        parts.append(
            f'<text class="mark" x="{place:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">'
            f"{escape(plot.unit(x))}</text>"
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(plot.across)}</text>')
    parts += _curves(curves, across, up)
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _curves(curves: dict[str, list[tuple[float, float, float, float]]], across: Scale, up: Scale) -> list[str]:
    parts = []
    names: list[tuple[float, str, float]] = []
    for pair in (pair for pair in COLOURS if pair in curves):
        curve = [
            (across.place(x), up.place(value), up.place(low), up.place(high)) for x, value, low, high in curves[pair]
        ]
        parts.append(f'<g class="{COLOURS[pair]}">')
        for x, _, low, high in curve:
            if low - high > 1:
                parts.append(f'<path class="spread" d="M{x:.1f} {low:.1f}V{high:.1f}"/>')
        parts.append('<path class="curve" d="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y, _, _ in curve) + '"/>')
        parts += [_point(pair, x, y) for x, y, _, _ in curve]
        parts.append("</g>")
        names.append((curve[-1][1], pair, curve[-1][0]))
    last = -math.inf
    for y, pair, x in sorted(names):
        last = max(y, last + 18)
        parts.append(
            f'<text class="name {COLOURS[pair]}" x="{x + 12:.1f}" y="{last + 4:.1f}">{escape(TITLES[pair])}</text>'
        )
    return parts


def draw_arrangements(rows: Sequence[Row]) -> str:
    """What a session costs in each arrangement of processes, as SVG; empty without measurements."""
    found = [
        {
            pair: sorted(panel.value(row) for row in rows if row["test"] == panel.test and row["pair"] == pair)
            for pair in ARRANGEMENTS
        }
        for panel in PANELS
        if any(row.get("test") == panel.test for row in rows)
    ]
    if len(found) < len(PANELS):
        return ""
    bottom = TOP + 24 + STEP * len(ARRANGEMENTS)
    parts = [_head("performance-workers.svg", "What a session costs, both hops together", bottom + 34)]
    for place, title in enumerate(ARRANGEMENTS.values()):
        y = TOP + 44 + STEP * place
        parts.append(f'<text x="{PANELS[0].start - 14}" y="{y + 4}" text-anchor="end">{escape(title)}</text>')
    for panel, values in zip(PANELS, found, strict=True):
        every = [value for several in values.values() for value in several]
        across = Scale(min(every) / 1.4, max(every) * 1.4, panel.start, panel.end)
        parts.append(f'<text class="name" x="{panel.start}" y="{TOP + 8}">{escape(panel.title)}</text>')
        for mark in marks(across.least, across.most):
            if math.log10(mark).is_integer():
                x = across.place(mark)
                parts.append(f'<path class="line" d="M{x:.1f} {TOP + 20}V{bottom}"/>')
                parts.append(f'<text class="mark" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{mark:g}</text>')
        for place, (pair, several) in enumerate(values.items()):
            if not several:
                continue
            y, colour = TOP + 44 + STEP * place, "two" if pair == "haproxy" else "one"
            x, low, high = (across.place(each) for each in (statistics.median(several), several[0], several[-1]))
            parts.append(f'<g class="{colour}"><path class="spread" d="M{low:.1f} {y}H{high:.1f}"/>')
            parts.append(_point("haproxy" if pair == "haproxy" else "SmartProxy", x, y) + "</g>")
            middle = statistics.median(several)
            shown = f"{middle:.1f}" if middle < 100 else f"{middle:,.0f}"
            parts.append(f'<text class="mark" x="{max(x, high) + 9:.1f}" y="{y + 4}">{shown}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _point(pair: str, x: float, y: float) -> str:
    """A point: each program has a form of its own, for readers who do not tell the colours apart."""
    match pair:
        case "SmartProxy":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        case "haproxy":
            return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7"/>'
        case "nginx":
            return f'<path d="M{x:.1f} {y - 4.5:.1f}l4.5 8h-9z"/>'
    return f'<path d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z"/>'


def _head(file: str, title: str, height: int = HEIGHT) -> str:
    name = file.removesuffix(".svg")

    def variables(colours: dict[str, str]) -> str:
        return "".join(f"--own-{colour}:{value};" for colour, value in colours.items())

    def colour(name: str) -> str:
        return f"var(--picture-{name},var(--own-{name}))"

    style = (
        f".{name}{{{variables(LIGHT)}font:13px system-ui,sans-serif}}"
        f"@media(prefers-color-scheme:dark){{.{name}{{{variables(DARK)}}}}}"
        f".{name} text{{fill:{colour('ink')}}}.{name} .mark{{fill:{colour('quiet')}}}"
        f".{name} .title{{font-weight:600;font-size:15px}}.{name} .name{{font-weight:600}}"
        f".{name} .line{{stroke:{colour('rule')};fill:none}}"
        f".{name} .curve{{fill:none;stroke-width:2}}.{name} .spread{{stroke-width:1;opacity:.6}}"
    )
    for each in COLOURS.values():
        style += (
            f".{name} g.{each}{{stroke:{colour(each)};fill:{colour(each)}}}.{name} text.{each}{{fill:{colour(each)}}}"
        )
    return (
        f'<svg class="{name}" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">\n<style>{style}</style>\n'
        f'<text class="title" x="{LEFT}" y="22">{escape(title)}</text>'
    )


def main() -> None:
    """Draw all plots for which there are measurements."""
    measured, folder = Path(sys.argv[1]), Path(sys.argv[2])
    rows = json.loads(measured.read_text())["rows"]
    for plot in PLOTS:
        if points(rows, plot):
            (folder / plot.file).write_text(draw(rows, plot), encoding="utf-8")
            print(folder / plot.file)
    if arrangements := draw_arrangements(rows):
        (folder / "performance-workers.svg").write_text(arrangements, encoding="utf-8")
        print(folder / "performance-workers.svg")


if __name__ == "__main__":
    main()
