"""Tables of a comparison: medians, spreads, and ratios to the first of those that are compared.

A ratio is the median of the ratios within each round: rounds are minutes apart, and what a busy machine adds to one, it
adds to all that ran in it.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import attrs

Row = dict[str, Any]
"""One measurement: ``test``, ``cell``, ``pair``, ``round``, and what was measured."""

GB: Final = 1e9
OURS: Final = "SmartProxy"
DIRECT: Final = "direct"


@attrs.frozen(kw_only=True)
class Table:
    """One table.

    :ivar test: which measurements it is made of.
    :ivar value: the figure of one of them.
    :ivar compared: whether a ratio says anything.
    :ivar goals: the ratio that SmartProxy is to reach, by cell, or for all cells by ``""``.
    """

    title: str
    test: str
    value: Callable[[Row], float]
    digits: int = 2
    compared: bool = True
    goals: dict[str, float] = attrs.field(factory=dict)


def _both(row: Row) -> float:
    return float(row["outer"] + row["inner"])


TABLES: Final = (
    Table(
        title="CPU seconds of both hops for each GB",
        test="bulk",
        value=lambda row: _both(row) / row["octets"] * GB,
        goals={
            "": 0.70,
            "2048 octets, 1 session": 0.75,
            "2048 octets, 8 sessions": 0.75,
            "records of 80, 65535 octets, 8 sessions": 0.8,
            "irregular, 65535 octets, 8 sessions": 1.5,
        },
    ),
    Table(
        title="MB in each second, generator and station beside it on the same cores",
        test="bulk",
        value=lambda row: row["octets"] / row["transfer_seconds"] / 1e6,
        digits=0,
    ),
    Table(
        title="CPU milliseconds of both hops for each new session, full handshake",
        test="new sessions",
        value=lambda row: _both(row) / row["sessions"] * 1e3,
        goals={"": 0.60},
    ),
    Table(
        title="new sessions in each second, generator and station beside it",
        test="new sessions",
        value=lambda row: row["sessions"] / row["seconds"],
        digits=0,
    ),
    Table(
        title="milliseconds from the call to the answer to SSID, p50",
        test="new sessions",
        value=lambda row: row["setup_p50"] / 1e3,
        digits=1,
    ),
    Table(
        title="milliseconds from the call to the answer to SSID, p99",
        test="new sessions",
        value=lambda row: row["setup_p99"] / 1e3,
        digits=1,
    ),
    Table(
        title="microseconds from SFID to SFPA in one session, p50",
        test="small files",
        value=lambda row: row["sfpa_p50"],
        digits=0,
        goals={"": 1.5},
    ),
    Table(
        title="microseconds from SFID to SFPA in one session, p99",
        test="small files",
        value=lambda row: row["sfpa_p99"],
        digits=0,
    ),
    Table(
        title="CPU milliseconds of both hops for each small file, events on",
        test="small files",
        value=lambda row: _both(row) / row["files"] * 1e3,
        digits=3,
        goals={"": 1.5},
    ),
    Table(
        title="KiB of memory of both hops for each idle session",
        test="idle sessions",
        value=lambda row: _both(row),
        digits=0,
        goals={"": 0.5},
    ),
    Table(title="MiB of memory of both hops at rest", test="at rest", value=lambda row: _both(row) / 1024, digits=0),
    Table(
        title="MB in each second over a line of 100 Mbit/s with a round trip of 80 ms",
        test="far",
        value=lambda row: row["octets"] / row["transfer_seconds"] / 1e6,
    ),
    Table(
        title="MB in each second by workers that have a tenth of a core each",
        test="held streams",
        value=lambda row: row["octets"] / row["transfer_seconds"] / 1e6,
        digits=1,
    ),
    Table(
        title="new sessions in each second by workers that have a tenth of a core each",
        test="held sessions",
        value=lambda row: row["sessions"] / row["seconds"],
        digits=1,
    ),
    Table(
        title="sessions lost by the death of one process",
        test="death",
        value=lambda row: row["lost"],
        digits=0,
        compared=False,
    ),
    Table(
        title="milliseconds until another process is there",
        test="replacement",
        value=lambda row: row["ms"],
        digits=0,
        compared=False,
    ),
)


@attrs.frozen(kw_only=True)
class Figure:
    """What one program reached.

    :ivar ratio: to the first of the other programs; where there is none, to the station itself.
    """

    median: float
    least: float
    most: float
    ratio: float | None


def figures(rows: Sequence[Row], table: Table) -> Iterator[tuple[str, dict[str, Figure]]]:
    """The cells of a table in the order in which they were measured, with the figure of each program."""
    mine = [row for row in rows if row["test"] == table.test]
    for cell in dict.fromkeys(row["cell"] for row in mine):
        values: dict[str, dict[int, float]] = {}
        for row in mine:
            if row["cell"] == cell:
                values.setdefault(row["pair"], {})[row["round"]] = table.value(row)
        others = (rounds for pair, rounds in values.items() if pair not in (DIRECT, OURS))
        base = next(others, values.get(DIRECT, {}))
        found = {}
        for pair, rounds in values.items():
            ratios = [value / base[number] for number, value in rounds.items() if base.get(number)]
            found[pair] = Figure(
                median=statistics.median(rounds.values()),
                least=min(rounds.values()),
                most=max(rounds.values()),
                ratio=statistics.median(ratios) if ratios and pair != DIRECT and table.compared else None,
            )
        yield cell, found


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """All tables as text."""
    pairs = list(dict.fromkeys(row["pair"] for row in rows if row["pair"] != DIRECT))
    for table in TABLES:
        cells = list(figures(rows, table))
        if not cells:
            continue
        shown = ([DIRECT] if any(DIRECT in found for _, found in cells) else []) + pairs
        yield ""
        yield table.title
        yield f"{'':40}" + "".join(f"{pair:>26}" for pair in shown) + (f"{'goal':>8}" if table.goals else "")
        for cell, found in cells:
            goal = table.goals.get(cell, table.goals.get(""))
            texts = [_text(found.get(pair), table.digits) for pair in shown]
            yield f"{cell:40}" + "".join(f"{text:>26}" for text in texts) + (f"{goal:8.2f}" if goal else "")
    yield from _steady_stream(rows)


def _text(figure: Figure | None, digits: int) -> str:
    if figure is None:
        return "-"
    spread = f"({figure.least:.{digits}f}-{figure.most:.{digits}f})"
    ratio = "" if figure.ratio is None else f" {figure.ratio:5.2f}"
    return f"{figure.median:.{digits}f} {spread}{ratio}"


STREAM: Final = "4096 octets, credit 64, 1 session"
"""The cell of the one steady stream that has to reach 100 MB/s."""


STREAM_MOST: Final = 10.0
"""CPU seconds for each GB with which a daemon on a core of its own carries 100 MB/s."""


def steady_stream(rows: Sequence[Row]) -> dict[str, list[float]]:
    """The CPU seconds of each daemon of ours for each GB of that cell, in all rounds."""
    mine = [row for row in rows if row["test"] == "bulk" and row["pair"] == OURS and row["cell"] == STREAM]
    hops = {"smartproxy-server": "outer", "smartproxy-client": "inner"}
    return {name: [row[hop] / row["octets"] * GB for row in mine] for name, hop in hops.items() if mine}


def _steady_stream(rows: Sequence[Row]) -> Iterator[str]:
    """Whether one session reaches 100 MB/s at 4 KiB and a credit of 64, each daemon on a core of its own."""
    for number, (name, spent) in enumerate(steady_stream(rows).items()):
        if not number:
            yield ""
            yield f"One session of {OURS}, 4096 octets, credit 64, has to reach 100 MB/s: at most 10 CPU-s/GB"
        median = statistics.median(spent)
        verdict = "holds" if median <= STREAM_MOST else "DOES NOT HOLD"
        figure = f"{median:.2f} ({min(spent):.2f}-{max(spent):.2f}), {1000 / median:.0f} MB/s on a core of its own"
        yield f"  {name}: {figure}: {verdict}"
