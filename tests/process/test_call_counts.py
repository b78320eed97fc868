"""How many Python calls real daemons need for a small file, with all that their events cost."""

import json
import sys
from pathlib import Path
from typing import Final

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from smartproxy.testing.programs import environment, finish
from tests.packaging.wheel import ROOT
from tests.process.clock import LIMIT_SECONDS

CALLS: Final = {"smartproxy-server": 720, "smartproxy-client": 800, "smartproxy-backend": 75}
"""The most Python calls of each daemon for each small file: at the usual log level, with events that are stored."""

SYSTEM_CALLS: Final = 14
"""The most calls of a socket or of epoll for each small file: four messages, each waited for, read and sent, are 12."""


class Whole(TestCase):
    """A site of real daemons under ``benchmarks/calls.py``."""

    timeout = LIMIT_SECONDS

    def test_small_files(self) -> Deferred[None]:
        """A small file in a session of many."""
        return Deferred.fromCoroutine(self.small_files())

    async def small_files(self) -> None:
        """Count."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        program = [sys.executable, "-P", str(ROOT / "benchmarks" / "calls.py")]
        arguments = ["--only", "files", "--files", "200", "--top", "40", "--json", str(folder / "calls.json")]
        done = await finish(installed_reactor, [*program, *arguments], folder, environment())
        self.assertEqual(done.status, 0, done.err)
        figures = json.loads((folder / "calls.json").read_text())["file"]
        for daemon, most in CALLS.items():
            self.assertLessEqual(figures[daemon]["python"], most, f"{daemon}:\n{done.out}")
            self.assertLessEqual(figures[daemon]["system"], SYSTEM_CALLS, f"{daemon}:\n{done.out}")
