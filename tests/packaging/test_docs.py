"""The documents, which are partly made from the code."""

import argparse
import ast
import functools
import io
import pkgutil
import re
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile
from pathlib import Path

from playwright.sync_api import Browser
from twisted.python.reflect import namedAny
from twisted.trial.unittest import TestCase

import smartproxy
from smartproxy.backend.operations.registry import OPERATIONS
from smartproxy.logs.catalogue import EVENTS
from smartproxy.policy.causes import Cause
from smartproxy.tap import backend, client, plain_client, plain_server, server
from smartproxy.tap import command as operator
from smartproxy.testing import __main__ as kit
from smartproxy.tunnel.vocabulary import ALLOWED, Side, TunnelPhase
from tests.packaging.wheel import ROOT, folder, run
from tests.process.browsers import Chromium, Eyes, Window
from tests.process.clock import LIMIT_SECONDS

DAEMONS = {
    "smartproxy-server": server,
    "smartproxy-client": client,
    "smartproxy-backend": backend,
    "smartproxy-plain-server": plain_server,
    "smartproxy-plain-client": plain_client,
}

PARSERS: dict[tuple[str, ...], Callable[[], argparse.ArgumentParser]] = {
    ("smartproxy",): operator.parser,
    ("python", "-m", "smartproxy.testing"): kit.parser,
}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line that a document tells an operator to type, and where; continued lines put together."""
    documents = (path for path in (ROOT / "docs").rglob("*") if path.suffix in {".rst", ".md"})
    for path in (ROOT / "README.md", *sorted(documents)):
        lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        for line in lines:
            if typed := re.match(r"\s*(?:inside|dmz)?\$\s+(.*)", line):
                yield path.name, shlex.split(typed[1].strip("() &").rpartition("; ")[2].partition(" > ")[0])


MENTION = re.compile(r"(?<![\w/.-])smartproxy( +[a-z](?:[^\s`'\",;()|]| +(?=[^\s`'\",;()|]))*)")
"""A command within a sentence: its words up to a quote, a comma, a bracket or a blank line."""


def mentions() -> Iterator[tuple[str, list[str]]]:
    """The commands within the sentences of documents, and in what the programs print: help, messages and advice."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.rst")), *sorted((ROOT / "docs").glob("*.md"))):
        for quoted in re.findall(r"`+(smartproxy [^`]+)`", path.read_text(encoding="utf-8")):
            yield path.name, quoted.split()[1:]
    for path in sorted(Path(smartproxy.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for found in MENTION.findall(_printed(node)):
                yield path.name, [word.rstrip(".:") for word in found.split()]


def _printed(node: ast.AST) -> str:
    """The text of a literal, with ``X`` for what is put in; nothing for another node."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_printed(part) if isinstance(part, ast.Constant) else "X" for part in parts)
    return ""


def unknown(parser: argparse.ArgumentParser, words: list[str]) -> str | None:
    """The first word of a command that its parser does not know: a subject, an action or a switch."""
    while (below := parser._subparsers) is not None and words and not words[0].startswith("-"):
        choices = below._group_actions[0].choices
        assert choices is not None
        if words[0].isupper():
            return None
        if words[0] not in choices:
            return words[0]
        parser, words = dict(choices)[words[0]], words[1:]
    switches = (word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word))
    return next((word for word in switches if word not in parser._option_string_actions), None)


@functools.cache
def built() -> Path:
    """The folder of the documents as ``make docs`` builds them; a warning is an error."""
    place = folder() / "html"
    run(
        *(sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"),
        *("-d", folder() / "doctrees", ROOT / "docs", place),
        cwd=Path(smartproxy.__file__).parents[1],
    )
    return place


class Documents(TestCase):
    """``make docs``."""

    timeout = LIMIT_SECONDS

    def test_no_warnings(self) -> None:
        """The documents build without a warning, with all tables, references and pictures made from the code."""
        place = built()
        events = (place / "events.html").read_text(encoding="utf-8")
        self.assertIn('id="event-session-violation"', events)
        architecture = (place / "architecture.html").read_text(encoding="utf-8")
        for package in pkgutil.iter_modules(smartproxy.__path__):
            if package.ispkg:
                self.assertIn(f">{package.name}</text>", architecture)
        performance = (place / "performance.html").read_text(encoding="utf-8")
        for shown in ("HAProxy", "on a core of its own", 'class="performance-buffers"'):
            self.assertIn(shown, performance)
        self.assertIn("SSIDLEV", (place / "protocol" / "commands.html").read_text(encoding="utf-8"))
        self.assertIn("AWAIT_I_SSID", (place / "protocol" / "witness.html").read_text(encoding="utf-8"))

    def test_commands_exist(self) -> None:
        """Every command of ``smartproxy`` and of the test kit in the documents is one that the program takes."""
        taken = 0
        for place, words in commands():
            for program, parser in PARSERS.items():
                if words[: len(program)] == list(program):
                    taken += 1
                    try:
                        parser().parse_args(words[len(program) :])
                    except SystemExit:
                        self.fail(f"{place}: {shlex.join(words)}")
        self.assertGreater(taken, 15)

    def test_mentioned_commands_exist(self) -> None:
        """So is every command within a sentence, of a document, a help text, a message or an advice."""
        parser, wrong, count = operator.parser(), [], 0
        for place, words in mentions():
            count += 1
            if (word := unknown(parser, words)) is not None:
                wrong.append(f"{place}: {word} in smartproxy {' '.join(words)}")
        self.assertEqual(wrong, [])
        self.assertGreater(count, 200)

    def test_switches_exist(self) -> None:
        """Every switch of a daemon in the documents is one that it has."""
        typed = [(place, words) for place, words in commands() if words[0] in {"twistd", *DAEMONS}]
        self.assertGreater(len(typed), 10)
        for place, words in typed:
            (name,) = (word for word in words if word in DAEMONS)
            options = DAEMONS[name].Options()
            known = {f"--{long.rstrip('=')}" for long in options.longOpt} | {f"-{short}" for short in options.shortOpt}
            given = {word for word in words[words.index(name) :] if word.startswith("-")}
            self.assertEqual(set(), given - known, place)

    def test_root_names_the_folder(self) -> None:
        """What root types names the programs with their folder: it is on the path of the daemons' user alone."""
        for path in sorted((ROOT / "docs").glob("*.rst")):
            text = path.read_text(encoding="utf-8")
            typed = re.findall(
                r"^ +(?:inside|dmz)?# +(?:\(umask 077; )?(?:sudo -u smartproxy )?smartproxy.*", text, re.MULTILINE
            )
            self.assertEqual(typed, [], path.name)

    def test_folder_of_backups(self) -> None:
        """Backups are written to a folder that the page makes for the user who writes them, and read from there."""
        page = (ROOT / "docs" / "day-two.rst").read_text(encoding="utf-8")
        (made,) = re.findall(r"inside# install -d -o smartproxy -g smartproxy -m 0700 (/var/backups/\S+)", page)
        named = re.findall(r"smartproxy (?:backup|restore) (/\S+)", page)
        self.assertEqual([str(Path(each).parent) for each in named], [made, made])

    def test_every_daemon_is_upgraded_and_removed(self) -> None:
        """Upgrade and uninstall name each daemon that has a unit; what reads a file that is removed is told."""
        page = (ROOT / "docs" / "day-two.rst").read_text(encoding="utf-8")
        parts = dict(zip(*[iter(re.split(r"^(.+)\n-+\n", page, flags=re.MULTILINE)[1:])] * 2, strict=True))
        upgrade, uninstall = parts["Upgrade"], parts["Uninstall"]
        for unit in (ROOT / "packaging" / "systemd").glob("*.service"):
            self.assertIn(unit.stem, uninstall)
            by_ctl = rf"ctl restart --{unit.stem.removeprefix('smartproxy-')}\b"
            self.assertRegex(upgrade, rf"systemctl (?:re)?start (?:\S+ )*{unit.stem}\b|{by_ctl}")
        self.assertIn("fail2ban-client reload", uninstall.partition("fail2ban/jail.d/smartproxy.conf")[2])

    def test_events_exist(self) -> None:
        """Every event that a document names stands in the catalogue."""
        subjects = {name.partition(".")[0] for name in EVENTS} - {"server", "client"}  # settings begin with those, too
        named = 0
        for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.rst")), *sorted((ROOT / "docs").glob("*.md"))):
            for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", path.read_text(encoding="utf-8")):
                if name.partition(".")[0] in subjects and name not in {*OPERATIONS, *Cause}:
                    named += 1
                    self.assertIn(name, EVENTS, path.name)
        self.assertGreater(named, 20)


WIDE, NARROW = 1440, 390
_CUT_OFF = """() => [...document.querySelectorAll("pre, table, svg, img")]
    .filter(found => found.checkVisibility() && found.getBoundingClientRect().right > innerWidth + 1)
    .filter(found => {
        for (let box = found; box; box = box.parentElement)
            if (["auto", "scroll"].includes(getComputedStyle(box).overflowX)) return false;
        return true;
    }).map(found => found.outerHTML.slice(0, 80))
    .concat([...document.querySelectorAll("pre")]
        .filter(found => found.scrollWidth > found.clientWidth + 1
            && !["auto", "scroll"].includes(getComputedStyle(found).overflowX))
        .map(found => found.textContent.slice(0, 80)))"""
"""What reaches beyond the window and cannot be scrolled to, and code blocks that hide the ends of their lines."""


class Opened(TestCase):
    """Each page as readers see it: in a browser, wide and narrow, in the light and in the dark."""

    timeout = LIMIT_SECONDS

    def setUp(self) -> None:
        """Serve the documents."""
        self.pages = sorted(str(path.relative_to(built())) for path in built().rglob("*.html"))
        self.served = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(built())))
        serving = threading.Thread(target=self.served.serve_forever, daemon=True)
        serving.start()
        self.addCleanup(self.served.server_close)
        self.addCleanup(serving.join)
        self.addCleanup(self.served.shutdown)

    async def test_doors(self) -> None:
        """The first page opens with three doors: a reader sees all of them without scrolling, before any list."""

        def look(browser: Browser) -> tuple[list[str], float, float, list[str]]:
            window = Window(browser, f"http://127.0.0.1:{self.served.server_port}", Eyes(width=WIDE))
            page = window.go("/index.html")
            names = page.locator(".door .rubric").all_inner_texts()
            last = max(float(each.bounding_box()["y"]) for each in page.locator(".door .rubric").all())  # type: ignore[index]  # they are seen
            first = min(float(each.bounding_box()["y"]) for each in page.locator("article .toctree-wrapper").all())  # type: ignore[index]  # they are seen
            return names, last, first, window.end()

        names, last, first, wrong = await Chromium.started().run(look)
        self.assertEqual((["Try it", "Operate it", "Understand it"], []), (names, wrong))
        self.assertLess(last, min(first, 900))

    async def test_every_page(self) -> None:
        """Nothing is cut off, the page itself never scrolls sideways, nothing is fetched, and all of it can be read."""

        def look(browser: Browser) -> list[str]:
            window = Window(browser, f"http://127.0.0.1:{self.served.server_port}", Eyes(width=WIDE))
            found: list[str] = []
            for path in self.pages:
                page = window.go(f"/{path}")
                for width in (WIDE, NARROW):
                    page.set_viewport_size({"width": width, "height": 900})
                    beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    found += [f"{path}, {width}: {beyond} pixels beyond the window"] if beyond > 0 else []
                    found += [f"{path}, {width}: cut off: {each}" for each in page.evaluate(_CUT_OFF)]
                found += window.obstacles_in_both()
                page.set_viewport_size({"width": WIDE, "height": 900})
            return found + window.end()

        self.assertGreater(len(self.pages), 30)
        self.assertEqual([], await Chromium.started().run(look))


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files and writes no log."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Pictures(TestCase):
    """The pictures of the page, which ``make page-pictures`` writes."""

    most = 150_000
    """Octets of a picture."""

    def test_themes(self) -> None:
        """Each stands in a document once in each theme, beside words for who does not see it; none is large or left."""
        named: dict[str, str] = {}
        for path in sorted((ROOT / "docs").glob("*.rst")):
            text = path.read_text(encoding="utf-8")
            found = re.findall(r"image:: static/page/(\S+)\n +:alt: .{20,}\n +:width: 100%\n +:class: (\S+)\n", text)
            self.assertEqual(text.count("static/page/"), len(found), path.name)
            named |= dict(found)
        pictures = {each.name: each.stat().st_size for each in (ROOT / "docs" / "static" / "page").iterdir()}
        self.assertEqual(named, {name: f"only-{Path(name).stem.rpartition('-')[2]}" for name in pictures})
        self.assertEqual(len(pictures), 2 * 6)
        self.assertEqual([], [name for name, size in pictures.items() if size > self.most])


class Routes(TestCase):
    """The four routes of ``docs/architecture.rst``, file by file."""

    page = (ROOT / "docs" / "architecture.rst").read_text(encoding="utf-8")
    named = re.compile(r"^(#\.|\d+\.|-) ``(\S+)\.py``, ``([\w.]+)``: ", re.MULTILINE)

    def routes(self) -> dict[str, list[tuple[str, str, str]]]:
        """Each route's entries: the kind of list, a module's path, and what it defines there."""
        part = self.page.partition("\nFour routes through the files\n---")[2].partition("\n---")[0]
        sections = re.split(r"\n([^\n]+)\n\^+\n", part)
        return {title: self.named.findall(text) for title, text in zip(sections[1::2], sections[2::2], strict=True)}

    def test_files_exist(self) -> None:
        """Every file of a route is there, and defines the class, method, function or table that is named with it."""
        for title, entries in self.routes().items():
            for _, path, name in entries:
                found = namedAny(f"smartproxy.{path.replace('/', '.')}.{name}")
                module = getattr(found, "__module__", None)
                if module is not None:
                    self.assertEqual(module, f"smartproxy.{path.replace('/', '.')}", title)

    def test_counts(self) -> None:
        """No route names a file twice, and the table has the number of files that each route passes and asks."""
        routes = self.routes()
        self.assertEqual(len(routes), 4)
        for title, entries in routes.items():
            files = [path for _, path, _ in entries]
            self.assertEqual(len(files), len(set(files)), title)
            passed = sum(kind != "-" for kind, _, _ in entries)
            row = rf"\* - {title[0].lower() + title[1:]}\n +- {passed}\n +- {len(entries) - passed}\n"
            self.assertRegex(self.page, row)


class Directions(TestCase):
    """The table of ``docs/trust.rst``, which says what each side may ask."""

    def test_commands(self) -> None:
        """Each side and phase has the commands of the program's table, and no other."""
        page = (ROOT / "docs" / "trust.rst").read_text(encoding="utf-8")
        for side in Side:
            (row,) = re.findall(rf"   \* - {side.value} to {side.other.value}\n((?:     - .+\n)+)", page)
            cells = [cell.removeprefix("     - ").split(", ") for cell in row.splitlines()]
            phases = [[each.__name__ for each in ALLOWED[side, phase]] for phase in TunnelPhase]
            self.assertEqual([sorted(cell) for cell in cells], [sorted(phase) or ["nothing"] for phase in phases])


class PageSecurity(TestCase):
    """The table of what the OWASP standard asks of the page."""

    def test_tests_exist(self) -> None:
        """Every row names a test, and every test that is named is there."""
        text = (ROOT / "docs" / "page-security.rst").read_text("utf-8")
        rows = re.findall(r"^   \* - V(?:.*\n)(?:     .*\n)+", text, re.MULTILINE)
        self.assertGreater(len(rows), 30)
        for row in rows:
            named = re.findall(r"``((?:unit|adapters|process)\.[\w.]+)``", row)
            self.assertTrue(named, row)
            for name in named:
                namedAny(f"tests.{name}")


class ComingFromOs4x(TestCase):
    """The table of the manuals' promises and ours."""

    page = ROOT / "docs" / "coming-from-os4x.md"

    def test_tests_exist(self) -> None:
        """Every test that the page names is there; every row of its tables that promises something names one."""
        named = re.findall(r"`((?:unit|adapters|conformance|process|packaging)\.[\w.]+)`", self.page.read_text("utf-8"))
        self.assertGreater(len(named), 60)
        for name in set(named):
            namedAny(f"tests.{name}")
        for line in self.page.read_text("utf-8").splitlines():
            if line.startswith("| ") and line.endswith("| |"):
                self.assertRegex(line, r"See above|[Nn]ot in this version", line)

    def test_commands_exist(self) -> None:
        """Every command of ``smartproxy`` that the page names is one; a switch that it names is taken there."""
        typed = re.findall(r"`smartproxy ([a-z][^`]*)`", self.page.read_text("utf-8"))
        self.assertGreater(len(typed), 20)
        for words in map(shlex.split, typed):
            subjects = list(takewhile(re.compile("[a-z][a-z-]*$").match, words))
            known = self.help_of(subjects)
            for switch in words:
                if switch.startswith("-"):
                    self.assertRegex(known, rf"(?<![\w-]){switch}(?![\w-])", shlex.join(words))

    def help_of(self, subjects: list[str]) -> str:
        """What a subcommand says about itself; an argument in its place does no harm."""
        said = io.StringIO()
        self.patch(sys, "stdout", said)
        ended = self.assertRaises(SystemExit, operator.parser().parse_args, [*subjects, "--help"])
        assert isinstance(ended, SystemExit)
        self.assertEqual(ended.code, 0, subjects)
        return said.getvalue()
