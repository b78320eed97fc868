"""Plots: figures over time as coordinates, which a template draws as SVG. Computes only; words come from the page."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import attrs

WIDTH: Final = 360
HEIGHT: Final = 150
LEFT: Final = 50
TOP: Final = 10
BOTTOM: Final = 22
_PLOT_HEIGHT: Final = HEIGHT - TOP - BOTTOM
_PLOT_WIDTH: Final = WIDTH - LEFT - 8
_MARKS_ON_X: Final = 3


@attrs.frozen
class Series:
    """Figures that belong together.

    :ivar name: in the reader's language.
    :ivar look: the class that the style knows: ``in``, ``out``, ``good``, ``warn`` or ``bad``.
    :ivar values: one for each point of time; ``None`` where there is none.
    """

    name: str
    look: str
    values: Sequence[float | None]


@attrs.frozen
class Mark:
    """A mark at an axis."""

    place: float
    text: str = ""
    moment: datetime | None = None


@attrs.frozen
class Spot:
    """A point of time: where the pointer or the keys show its figures."""

    left: float
    width: float
    middle: float
    moment: datetime
    figures: tuple[tuple[str, str, str], ...]


@attrs.frozen
class Bar:
    """A bar, or a part of one."""

    left: float
    top: float
    width: float
    height: float
    look: str


@attrs.frozen(kw_only=True)
class Plot:
    """A plot, drawn in a field of :data:`WIDTH` by :data:`HEIGHT`.

    :ivar paths: lines: the style's class, and the path.
    :ivar greatest: the greatest figure, in words; empty when there is none.
    """

    key: str
    title: str
    unit: str
    series: tuple[Series, ...]
    by_day: bool
    spots: tuple[Spot, ...]
    paths: tuple[tuple[str, str], ...]
    bars: tuple[Bar, ...]
    rows: tuple[Mark, ...]
    columns: tuple[Mark, ...]
    greatest: str

    @property
    def empty(self) -> bool:
        """Whether there is nothing to see."""
        return not any(each for series in self.series for each in series.values)


def plot(
    key: str,
    title: str,
    unit: str,
    moments: Sequence[datetime],
    series: Sequence[Series],
    *,
    worded: Callable[[float], str],
    bars: bool = False,
    by_day: bool = False,
) -> Plot:
    """Lay figures out.

    :param worded: says a figure.
    :param bars: as bars that stand on each other, instead of lines.
    :param by_day: whether times are shown as days.
    """
    count = max(len(moments), 1)
    step = _PLOT_WIDTH / count
    columns = [
        [each.values[index] or 0.0 for each in series] if bars else [each.values[index] for each in series]
        for index in range(len(moments))
    ]
    highest = max(
        (sum(filter(None, each)) if bars else max(filter(None, each), default=0) for each in columns), default=0
    )
    top = _above(max(highest, 2))

    def height_of(value: float) -> float:
        return round(TOP + _PLOT_HEIGHT * (1 - value / top), 1)

    def middle(index: int) -> float:
        return round(LEFT + step * (index + 0.5), 1)

    spots = [
        Spot(
            left=round(LEFT + step * index, 1),
            width=round(step, 1),
            middle=middle(index),
            moment=moment,
            figures=tuple(
                (each.name, each.look, "\N{EN DASH}" if (value := each.values[index]) is None else worded(value))
                for each in series
            ),
        )
        for index, moment in enumerate(moments)
    ]
    return Plot(
        key=key,
        title=title,
        unit=unit,
        series=tuple(series),
        by_day=by_day,
        spots=tuple(spots),
        paths=() if bars else tuple((each.look, _path(each.values, middle, height_of)) for each in series),
        bars=tuple(_bars(series, columns, step, height_of)) if bars else (),
        rows=tuple(Mark(height_of(top * part), worded(top * part)) for part in (0, 0.5, 1)),
        columns=tuple(
            Mark(middle(index), moment=moments[index])
            for index in range(0, len(moments), max(len(moments) // _MARKS_ON_X, 1))
        ),
        greatest=worded(highest) if highest else "",
    )


def _path(values: Sequence[float | None], middle: Callable[[int], float], height_of: Callable[[float], float]) -> str:
    """A line through the figures; where there is none, it is broken. A lone figure is a short stroke."""
    found: list[str] = []
    for index, value in enumerate(values):
        if value is None:
            continue
        begins = index == 0 or values[index - 1] is None
        found.append(f"{'M' if begins else 'L'}{middle(index)} {height_of(value)}")
        if begins and (index + 1 == len(values) or values[index + 1] is None):
            found.append("h1.5")
    return " ".join(found)


def _bars(
    series: Sequence[Series],
    columns: Sequence[Sequence[float | None]],
    step: float,
    height_of: Callable[[float], float],
) -> list[Bar]:
    found = []
    for index, column in enumerate(columns):
        below = 0.0
        for each, value in zip(series, column, strict=True):
            if value:
                top, bottom = height_of(below + value), height_of(below)
                left, width = round(LEFT + step * index + step * 0.1, 1), round(max(step * 0.8, 1), 1)
                found.append(Bar(left, top, width, round(max(bottom - top, 1), 1), each.look))
                below += value
    return found


def _above(highest: float) -> float:
    """A round number at or above the highest figure: the top of the field."""
    power = 1.0
    while power * 10 <= highest:
        power *= 10
    return next((power * part for part in (1, 2, 4, 5, 10) if power * part >= highest), power * 10)
