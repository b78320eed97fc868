"""A Sphinx extension: the tables of a comparison, made from what was measured.

``.. measured:: TEST`` puts in place the tables of one test of ``docs/performance/comparison.json``, or of another file
there that its option ``run`` names, ``.. measured:: machine`` where and with what that was measured, and
``.. measured:: stream`` whether one session reaches 100 MB/s. The files come from ``make bench`` and
``make bench-workers``; nothing here computes another figure than it prints.
"""

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import figures
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from tables import table

HERE = Path(__file__).resolve().parent
TIMES = "\N{MULTIPLICATION SIGN}"
NAMES = {"haproxy": "HAProxy", figures.DIRECT: "the station itself"}


def measured_in(path: Path) -> dict[str, Any]:
    """What was measured."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def machine(measured: dict[str, Any]) -> Iterator[str]:
    """Where and with what."""
    facts = measured["machine"]
    rows = [
        ["processor", f"{facts['cpu']}, {facts['cores']} cores"],
        ["load average before", f"{facts['load']:.2f}"],
        ["time", facts["time"]],
        *([NAMES.get(name, name), version] for name, version in facts["versions"].items()),
    ]
    yield from table(["what", "which"], rows, [30, 70])


def stream(measured: dict[str, Any]) -> Iterator[str]:
    """The CPU seconds of each daemon for one steady stream."""
    rows = []
    for hop, spent in figures.steady_stream(measured["rows"]).items():
        median = statistics.median(spent)
        verdict = "yes" if median <= figures.STREAM_MOST else "no"
        rows.append(
            [f"``{hop}``", f"{median:.2f} ({min(spent):.2f} to {max(spent):.2f})", f"{1000 / median:.0f}", verdict]
        )
    yield from table(
        ["daemon", "CPU seconds for each GB", "MB/s on a core of its own", "holds"], rows, [30, 30, 30, 10]
    )


def test(measured: dict[str, Any], name: str) -> Iterator[str]:
    """The tables of one test."""
    rows = measured["rows"]
    for each in figures.TABLES:
        cells = list(figures.figures(rows, each)) if each.test == name else []
        if not cells:
            continue
        pairs = list(dict.fromkeys(pair for _, found in cells for pair in found))
        titles = ["", *(NAMES.get(pair, pair) for pair in pairs), *(["goal"] if each.goals else [])]
        lines = []
        for cell, found in cells:
            goal = each.goals.get(cell, each.goals.get(""))
            texts = [_text(found.get(pair), each.digits) for pair in pairs]
            lines.append([cell, *texts, *([f"{TIMES} {goal:.2f}" if goal else ""] if each.goals else [])])
        yield ""
        yield f"**{each.title[:1].upper()}{each.title[1:]}**"
        yield from table(titles, lines, [28, *([18] * len(pairs)), *([10] if each.goals else [])])


def _text(figure: figures.Figure | None, digits: int) -> str:
    if figure is None:
        return ""
    ratio = "" if figure.ratio is None else f" **{TIMES} {figure.ratio:.2f}**"
    return f"{figure.median:.{digits}f} ({figure.least:.{digits}f} to {figure.most:.{digits}f}){ratio}"


class Measured(SphinxDirective):
    """``.. measured:: NAME``."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec = {"run": directives.unchanged_required}  # as docutils declares it

    def run(self) -> list[nodes.Node]:
        """Make the tables."""
        path = HERE / "performance" / f"{self.options.get('run', 'comparison')}.json"
        self.env.note_dependency(str(path))
        name = self.arguments[0]
        measured = measured_in(path)
        made = {"machine": machine, "stream": stream}.get(name)
        lines = made(measured) if made is not None else test(measured, name)
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx about the directive."""
    app.add_directive("measured", Measured)
    return {"parallel_read_safe": True}
