"""The documents, which are partly made from the code."""

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import TestCase

import smartproxy
from smartproxy.tap import backend, client, server
from smartproxy.tap import command as operator
from smartproxy.testing import __main__ as kit
from tests.packaging.wheel import ROOT, folder, run

DAEMONS = {"smartproxy-server": server, "smartproxy-client": client, "smartproxy-backend": backend}

PARSERS = {("smartproxy",): operator.parser, ("python", "-m", "smartproxy.testing"): kit.parser}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command line that a document tells an operator to type, and where; continued lines put together."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.rst"))):
        lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
        for line in lines:
            if typed := re.match(r"\s*(?:inside|dmz)?\$\s+(.*)", line):
                yield path.name, shlex.split(typed[1].strip("()").rpartition("; ")[2].partition(" > ")[0])


class Documents(TestCase):
    """``make docs``."""

    timeout = 300

    def test_no_warnings(self) -> None:
        """The documents build without a warning, every table and reference in them included."""
        place = folder() / "html"
        run(
            *(sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"),
            *("-d", folder() / "doctrees", ROOT / "docs", place),
            cwd=Path(smartproxy.__file__).parents[1],
        )
        events = (place / "events.html").read_text(encoding="utf-8")
        self.assertIn("session.violation", events)
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

    def test_switches_exist(self) -> None:
        """Every switch of a daemon in the documents is one that it has."""
        typed = [(place, words) for place, words in commands() if words[0] == "twistd"]
        self.assertGreater(len(typed), 3)
        for place, words in typed:
            (name,) = (word for word in words if word in DAEMONS)
            options = DAEMONS[name].Options()
            known = {f"--{long.rstrip('=')}" for long in options.longOpt} | {f"-{short}" for short in options.shortOpt}
            given = {word for word in words[words.index(name) :] if word.startswith("-")}
            self.assertEqual(set(), given - known, place)
