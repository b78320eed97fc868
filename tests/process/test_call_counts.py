"""How many Python calls real daemons need for a small file and for a session, with all that their events cost."""

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

FILE: Final = {"smartproxy-server": 300, "smartproxy-client": 335, "smartproxy-backend": 150}
"""The most Python calls of each daemon for each small file, without what sends batches of events: at the usual log
level, with events that are stored.

What a daemon does by itself from time to time is in it, too; in the backend, that is much of the little there is.
"""

SESSION: Final = {"smartproxy-server": 1760, "smartproxy-client": 1640}
"""The most for each session, from the connection to its end, with one small file; without the batches, too."""

BATCH: Final = {"smartproxy-server": 150, "smartproxy-client": 750, "smartproxy-backend": 900}
"""What a batch takes: a question in the tunnel, a request and its answer by https, which the backend stores. The clock
sends them (events, records, and which sessions run), so that a busy machine has more of them for each session."""

SENDER: Final = {"smartproxy-backend": "smartproxy-client"}
"""Who sends the batches that a daemon has to do with, if it does not do so itself."""

SYSTEM_CALLS: Final = 16
"""The most calls of a socket or of epoll for each small file: four messages, each waited for, read and sent, are 12."""


class Whole(TestCase):
    """A site of real daemons under ``benchmarks/calls.py``."""

    timeout = LIMIT_SECONDS

    def test_files_and_sessions(self) -> Deferred[None]:
        """A small file in a session of many, and a session with one."""
        return Deferred.fromCoroutine(self.files_and_sessions())

    async def files_and_sessions(self) -> None:
        """Count."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        program = [sys.executable, "-P", str(ROOT / "benchmarks" / "calls.py"), "--json", str(folder / "calls.json")]
        arguments = ["--files", "200", "--sessions", "20", "--megabytes", "1", "--top", "40"]
        done = await finish(installed_reactor, [*program, *arguments], folder, environment())
        self.assertEqual(done.status, 0, done.err)
        figures = json.loads((folder / "calls.json").read_text())
        for unit, bounds in (("file", FILE), ("session", SESSION)):
            for daemon, most in bounds.items():
                allowed = most + BATCH[daemon] * figures[unit][SENDER.get(daemon, daemon)]["batches"]
                self.assertLessEqual(figures[unit][daemon]["python"], allowed, f"{daemon}, {unit}:\n{done.out}")
        for daemon in FILE:
            self.assertLessEqual(figures["file"][daemon]["system"], SYSTEM_CALLS, f"{daemon}:\n{done.out}")
