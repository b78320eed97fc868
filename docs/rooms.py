"""A Sphinx extension: the picture of the rooms, drawn from the imports.

``.. rooms::`` shows every package of ``smartproxy`` with its sub-packages, modules and lines, in the layers of
``tests/test_layers.py``, the lowest at the bottom. An arrow is an import; one that follows from others is left out.
Reads the source of the installed package; runs none of it.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

import attrs
from docutils import nodes
from pictures import framed
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import smartproxy

LAYER_TEST = Path(__file__).resolve().parents[1] / "tests" / "test_layers.py"

WIDTH = 910.0
MARGIN = 48.0
ROOM = 166.0
GAP = 20.0
LANE = 10.0
ROW_GAP = 46.0
HEAD = 48.0
CHIP = 22.0

Uses = Mapping[str, frozenset[str]]
"""What each package imports of the others."""


@attrs.frozen
class Room:
    """A package: how many modules and lines are directly in it, and the same of its sub-packages, by name."""

    name: str
    modules: int
    lines: int
    parts: Mapping[str, tuple[int, int]]

    @property
    def height(self) -> float:
        """How high its box is."""
        return HEAD + CHIP * len(self.parts) + (8 if self.parts else 0)


def layers() -> Mapping[str, int]:
    """The layer of each package, as the test of the layers has it."""
    for node in ast.parse(LAYER_TEST.read_text(encoding="utf-8")).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "LAYERS" and isinstance(node, ast.Assign | ast.AnnAssign):
            found: dict[str, int] = ast.literal_eval(node.value or ast.Constant(None))
            return found
    raise LookupError(f"{LAYER_TEST} has no LAYERS")


def survey(root: Path, names: Sequence[str]) -> tuple[Mapping[str, Room], Uses]:
    """Count what is in each package, and find what it imports of the others, types alone included."""
    rooms, uses = {}, {}
    for name in names:
        if not (root / name).is_dir():
            continue
        own = [0, 0]
        parts: dict[str, list[int]] = {}
        found: set[str] = set()
        for path in sorted((root / name).rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            inner = path.relative_to(root / name).parts[:-1]
            for count in (own, parts.setdefault(inner[0], [0, 0])) if inner else (own,):
                count[0] += 1
                count[1] += text.count("\n")
            found.update(_targets(ast.parse(text)))
        rooms[name] = Room(name, own[0], own[1], {part: (count[0], count[1]) for part, count in sorted(parts.items())})
        uses[name] = found
    return rooms, {name: frozenset(found & rooms.keys() - {name}) for name, found in uses.items()}


def _targets(tree: ast.Module) -> Iterator[str]:
    """The packages that a module imports; the project's rule is absolute imports."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                yield from (alias.name.split(".")[1] for alias in aliases if alias.name.startswith("smartproxy."))
            case ast.ImportFrom(module="smartproxy", names=aliases):
                yield from (alias.name for alias in aliases)
            case ast.ImportFrom(module=str(module)) if module.startswith("smartproxy."):
                yield module.split(".")[1]


def reachable(start: str, uses: Uses) -> set[str]:
    """Everything that a package imports, itself or through others."""
    seen: set[str] = set()
    waiting = list(uses[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += uses[name]
    return seen


def reduced(uses: Uses) -> Uses:
    """Leave out each import that follows from others. Packages must not import each other in a circle."""
    below = {name: reachable(name, uses) for name in uses}
    return {
        name: frozenset(one for one in found if not any(one in below[other] for other in found - {one}))
        for name, found in uses.items()
    }


def rows(rooms: Mapping[str, Room], uses: Uses, layer: Mapping[str, int]) -> list[list[str]]:
    """The packages from the bottom up: a layer is one row, or several where its packages import each other."""

    def depth(name: str) -> int:
        return max((depth(other) + 1 for other in uses[name] if layer[other] == layer[name]), default=0)

    places = {name: (layer[name], depth(name)) for name in rooms}
    return [[name for name in rooms if places[name] == place] for place in sorted(set(places.values()))]


@attrs.define(eq=False)
class Spot:
    """A place in a row: a room, or the lane that an arrow takes between rooms."""

    row: int
    room: Room | None = None
    x: float = 0
    down: list["Spot"] = attrs.field(factory=list, repr=False)
    up: list["Spot"] = attrs.field(factory=list, repr=False)

    @property
    def width(self) -> float:
        """How much of the row it takes."""
        return LANE if self.room is None else ROOM


def spots(rooms: Mapping[str, Room], uses: Uses, order: Sequence[Sequence[str]]) -> list[list[Spot]]:
    """Give rooms and lanes their rows, and connect them; an arrow goes from each row to the one below."""
    grid = [[Spot(number, rooms[name]) for name in row] for number, row in enumerate(order)]
    by_name = {spot.room.name: spot for row in grid for spot in row if spot.room}
    for name in sorted(uses):
        for other in sorted(uses[name]):
            above, target = by_name[name], by_name[other]
            for number in range(above.row - 1, target.row, -1):
                lane = Spot(number)
                grid[number].append(lane)
                _connect(above, lane)
                above = lane
            _connect(above, target)
    return grid


def _connect(above: Spot, below: Spot) -> None:
    above.down.append(below)
    below.up.append(above)


def arrange(grid: Sequence[list[Spot]]) -> None:
    """Order each row so that arrows cross little and are short: a spot goes to the mean of its neighbours' places."""
    for row in grid:
        _spread(row)
    for turn in range(24):
        upwards = turn % 2 == 0
        for row in grid if upwards else reversed(grid):
            for spot in row:
                near = (spot.down if upwards else spot.up) or spot.down or spot.up
                spot.x = sum(other.x for other in near) / len(near) if near else spot.x
            _spread(sorted(row, key=lambda spot: spot.x), row)


def _spread(order: Sequence[Spot], row: list[Spot] | None = None) -> None:
    """Keep the order and let nothing overlap, as near to the wanted places as may be, inside the picture."""
    if row is not None:
        row[:] = order
    left = MARGIN
    for spot in order:
        spot.x = max(spot.x, left + spot.width / 2)
        left = spot.x + spot.width / 2 + GAP
    right = WIDTH - 20
    for spot in reversed(order):
        spot.x = min(spot.x, right - spot.width / 2)
        right = spot.x - spot.width / 2 - GAP


def draw(rooms: Mapping[str, Room], uses: Uses, layer: Mapping[str, int]) -> str:
    """The picture as SVG."""
    grid = spots(rooms, reduced(uses), rows(rooms, uses, layer))
    arrange(grid)
    heights = [max(spot.room.height for spot in row if spot.room) for row in grid]
    tops = [0.0] * len(grid)
    y = 24.0
    for number in reversed(range(len(grid))):
        tops[number] = y
        y += heights[number] + ROW_GAP
    total = y - ROW_GAP + 24
    most = max(room.lines for room in rooms.values())
    label = "The packages of smartproxy in their layers; an arrow is an import"
    body = [
        *_bands(grid, tops, heights, layer),
        *(piece for row in grid for spot in row for piece in _arrows(spot, tops, heights)),
        *(_room(spot, tops[spot.row], most) for row in grid for spot in row if spot.room),
    ]
    return (
        f'<svg class="rooms" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {total:.0f}" '
        f'font-family="sans-serif" font-size="16" role="img" aria-label="{label}"><style>{STYLE}</style>'
        '<defs><marker id="rooms-tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
        'orient="auto"><path class="tip" d="M0 0L10 5L0 10z"/></marker></defs>' + "".join(body) + "</svg>"
    )


STYLE = (
    ".rooms .band{fill:var(--picture-band)}.rooms .box{fill:var(--picture-box);stroke:var(--picture-edge)}"
    ".rooms .chip{fill:var(--picture-chip);stroke:var(--picture-edge);stroke-width:.7}"
    ".rooms .bar{fill:var(--picture-line)}.rooms .name{fill:var(--picture-ink);font-weight:bold}"
    ".rooms .count{fill:var(--picture-quiet);font-size:13px}.rooms .part{fill:var(--picture-ink);font-size:13px}"
    ".rooms .arrow{fill:none;stroke:var(--picture-line);stroke-width:1.6}.rooms .tip{fill:var(--picture-line)}"
)


def _bands(
    grid: Sequence[Sequence[Spot]], tops: Sequence[float], heights: Sequence[float], layer: Mapping[str, int]
) -> Iterator[str]:
    numbers = [next(layer[spot.room.name] for spot in row if spot.room) for row in grid]
    for number in sorted(set(numbers)):
        own = [index for index, other in enumerate(numbers) if other == number]
        top = tops[own[-1]] - 14
        height = tops[own[0]] + heights[own[0]] + 14 - top
        yield f'<rect class="band" x="4" y="{top:.0f}" width="{WIDTH - 8:.0f}" height="{height:.0f}" rx="8"/>'
        middle = top + height / 2
        yield (
            f'<text class="count" text-anchor="middle" transform="translate(26 {middle:.0f}) rotate(-90)">'
            f"layer {number}</text>"
        )


def _room(spot: Spot, top: float, most: int) -> str:
    room = spot.room
    assert room is not None
    left = spot.x - ROOM / 2
    bar = (ROOM - 24) * room.lines / most
    parts = "".join(
        f'<rect class="chip" x="{left + 10:.1f}" y="{top + HEAD + CHIP * index:.1f}" width="{ROOM - 20}" height="18" '
        f'rx="4"/><text class="part" x="{left + 17:.1f}" y="{top + HEAD + 13 + CHIP * index:.1f}">{escape(name)}</text>'
        f'<text class="count" text-anchor="end" x="{left + ROOM - 17:.1f}" y="{top + HEAD + 13 + CHIP * index:.1f}">'
        f"{modules} / {lines:,}</text>"
        for index, (name, (modules, lines)) in enumerate(room.parts.items())
    )
    return (
        f'<rect class="box" x="{left:.1f}" y="{top:.1f}" width="{ROOM}" height="{room.height:.1f}" rx="7"/>'
        f'<text class="name" x="{left + 12:.1f}" y="{top + 20:.1f}">{escape(room.name)}</text>'
        f'<text class="count" text-anchor="end" x="{left + ROOM - 12:.1f}" y="{top + 20:.1f}">'
        f"{room.modules} / {room.lines:,}</text>"
        f'<rect class="bar" x="{left + 12:.1f}" y="{top + 31:.1f}" width="{bar:.1f}" height="5" rx="2.5"/>{parts}'
    )


def _arrows(spot: Spot, tops: Sequence[float], heights: Sequence[float]) -> Iterator[str]:
    """The arrows that begin at a room, each followed through its lanes to the room that it ends at."""
    if spot.room is None:
        return
    for number, first in enumerate(sorted(spot.down, key=lambda other: other.x)):
        x = _port(spot, number, len(spot.down))
        y = tops[spot.row] + heights[spot.row]
        path = f"M{x:.1f} {tops[spot.row] + spot.room.height:.1f}V{y:.1f}"
        here, place = spot, first
        while place.room is None:
            top, bottom = tops[place.row] - 6, tops[place.row] + heights[place.row] + 6
            path += _curve(x, y, place.x, top) + f"V{bottom:.1f}"
            x, y, here, place = place.x, bottom, place, place.down[0]
        arrivals = sorted(place.up, key=lambda other: other.x)
        end = _port(place, arrivals.index(here), len(arrivals))
        path += _curve(x, y, end, tops[place.row] - 1)
        yield f'<path class="arrow" marker-end="url(#rooms-tip)" d="{path}"/>'


def _port(spot: Spot, number: int, count: int) -> float:
    """Where on its edge a room's arrow begins or ends."""
    return spot.x + (number + 1) * ROOM / (count + 1) - ROOM / 2


def _curve(x: float, y: float, to_x: float, to_y: float) -> str:
    middle = (y + to_y) / 2
    return f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"


class Rooms(SphinxDirective):
    """``.. rooms::``."""

    def run(self) -> list[nodes.Node]:
        """Draw the picture."""
        layer = layers()
        rooms, uses = survey(Path(smartproxy.__file__).parent, list(layer))
        return framed(draw(rooms, uses, layer))


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx about the directive."""
    app.add_directive("rooms", Rooms)
    return {"parallel_read_safe": True}
