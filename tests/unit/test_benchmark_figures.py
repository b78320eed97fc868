"""What the benchmark makes of its measurements: medians, spreads, ratios, plots."""

import importlib.util
import json
import math
from functools import cache
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from tests.packaging.wheel import ROOT


@cache
def benchmark(name: str) -> ModuleType:
    """A module of the benchmarks, which are no package."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(pair: str, number: int, cpu: float, **more: Any) -> dict[str, Any]:
    """A measurement of a stream of a GB."""
    usual = {"test": "bulk", "cell": "a stream", "transfer_seconds": 2.0, "octets": 10**9, "inner": cpu / 4}
    return {**usual, "pair": pair, "round": number, "outer": cpu * 3 / 4, **more}


ROWS = [row("haproxy", 0, 1), row("SmartProxy", 0, 2), row("haproxy", 1, 2), row("SmartProxy", 1, 6)]


class Tables(SynchronousTestCase):
    """``benchmarks/figures.py``."""

    def test_ratio_within_rounds(self) -> None:
        """A ratio is the median of those within each round; figures are medians with the least and the most."""
        figures = benchmark("figures")
        ((cell, found),) = figures.figures(ROWS, figures.TABLES[0])
        self.assertEqual(cell, "a stream")
        ours = found["SmartProxy"]
        self.assertEqual((ours.median, ours.least, ours.most, ours.ratio), (4, 2, 6, 2.5))
        self.assertEqual(found["haproxy"].ratio, 1)

    def test_station_itself_is_no_base(self) -> None:
        """A call without a proxy is shown, and nothing is compared with it."""
        figures = benchmark("figures")
        rows = [row(figures.DIRECT, number, 0.1) for number in (0, 1)] + ROWS
        ((_, found),) = figures.figures(rows, figures.TABLES[0])
        self.assertIsNone(found[figures.DIRECT].ratio)
        self.assertEqual(found["SmartProxy"].ratio, 2.5)

    def test_missing_program(self) -> None:
        """A program that failed in a cell has no figure there, and the table is printed without it."""
        rows = [*ROWS, row("haproxy", 0, 1, cell="another")]
        figures = benchmark("figures")
        text = "\n".join(figures.lines(rows))
        self.assertRegex(text, r"another +1\.00 \(1\.00-1\.00\) +1\.00 +- ")

    def test_steady_stream(self) -> None:
        """100 MB/s are ten CPU seconds for each GB, of each daemon by itself."""
        figures = benchmark("figures")
        for cpu, verdict in ((13.2, "holds"), (13.4, "DOES NOT HOLD")):
            lines = list(figures.lines([row("SmartProxy", 0, cpu, cell=figures.STREAM)]))
            (server,) = [line for line in lines if "smartproxy-server" in line]
            self.assertTrue(server.endswith(f": {verdict}"), server)


class Plots(SynchronousTestCase):
    """``benchmarks/plots.py``."""

    def test_all_programs(self) -> None:
        """Each program has a curve, its name and its points, on axes that hold all of them."""
        plots = benchmark("plots")
        rows = [row(pair, 0, 1 + x / 1000, curve="buffers", x=x) for pair in plots.COLOURS for x in (128, 2048, 65535)]
        drawn = plots.draw(rows, plots.PLOTS[0])
        root = ElementTree.fromstring(drawn)
        space = "{http://www.w3.org/2000/svg}"
        curves = [path.get("d", "") for path in root.iter(f"{space}path") if path.get("class") == "curve"]
        self.assertEqual(len(curves), len(plots.COLOURS))
        for curve in curves:
            for point in curve.lstrip("M").split("L"):
                x, y = map(float, point.split())
                self.assertTrue(plots.LEFT <= x <= plots.WIDTH and plots.TOP <= y <= plots.HEIGHT - plots.BOTTOM)
        names = {text.text for text in root.iter(f"{space}text")}
        self.assertLessEqual(set(plots.TITLES.values()) | {"128", "2048", "65535"}, names)

    def test_marks(self) -> None:
        """An axis has marks within its ends, few enough to be read."""
        plots = benchmark("plots")
        for least, most in ((0.9, 7.0), (0.05, 40_000), (1.4, 1.9)):
            marks = plots.marks(least, most)
            self.assertTrue(all(least <= mark <= most for mark in marks))
            self.assertLessEqual(len(marks), 3 * math.ceil(math.log10(most / least)) + 3)

    def test_committed(self) -> None:
        """The plots in the documents are those of the committed measurements."""
        plots = benchmark("plots")
        rows = json.loads((ROOT / "docs" / "performance" / "growth.json").read_text())["rows"]
        for plot in plots.PLOTS:
            committed = (ROOT / "docs" / "static" / plot.file).read_text(encoding="utf-8")
            self.assertEqual(plots.draw(rows, plot), committed, plot.file)
        rows = json.loads((ROOT / "docs" / "performance" / "workers.json").read_text())["rows"]
        committed = (ROOT / "docs" / "static" / "performance-workers.svg").read_text(encoding="utf-8")
        self.assertEqual(plots.draw_arrangements(rows), committed)

    def test_arrangements(self) -> None:
        """Each arrangement is named and has a point and a figure in both halves, none outside of its half."""
        plots = benchmark("plots")
        pairs = list(enumerate(plots.ARRANGEMENTS, 2))
        rows = [row(pair, 0, cpu, test="new sessions", sessions=100) for cpu, pair in pairs]
        rows += [row(pair, 0, cpu * 100, test="idle sessions") for cpu, pair in pairs]
        root = ElementTree.fromstring(plots.draw_arrangements(rows))
        space = "{http://www.w3.org/2000/svg}"
        texts = [text.text for text in root.iter(f"{space}text")]
        self.assertLessEqual({*plots.ARRANGEMENTS.values(), *(panel.title for panel in plots.PANELS)}, set(texts))
        points = [float(point.get("cx", "0")) for point in root.iter(f"{space}circle")]
        for panel in plots.PANELS:
            there = [x for x in points if panel.start <= x <= panel.end]
            self.assertEqual((len(there), there), (len(pairs) - 1, sorted(there)))
        self.assertEqual(plots.draw_arrangements([each for each in rows if each["test"] == "new sessions"]), "")
