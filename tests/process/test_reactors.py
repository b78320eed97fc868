"""The transports of the data path on the other reactors that Twisted has."""

import os
import subprocess
import sys

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.process.clock import LIMIT_SECONDS


class OtherReactors(TestCase):
    """What holds on epoll holds on them."""

    timeout = LIMIT_SECONDS

    def passes(self, reactor: str) -> Deferred[None]:
        """All of them pass on this one, in a process of its own."""
        words = [sys.executable, "-m", "twisted.trial", f"--reactor={reactor}", "--temp-directory", self.mktemp()]
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)

        def run() -> "subprocess.CompletedProcess[str]":
            return subprocess.run(
                [*words, "tests.process.test_transport_sockets"],
                capture_output=True,
                text=True,
                env={**os.environ, "PYTHONPATH": paths},
            )

        def judge(done: "subprocess.CompletedProcess[str]") -> None:
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("PASSED (successes=", done.stdout)

        return deferToThread(run).addCallback(judge)

    def test_select(self) -> Deferred[None]:
        """Connections are read, written, paused and ended on select."""
        return self.passes("select")

    def test_poll(self) -> Deferred[None]:
        """The same on poll."""
        return self.passes("poll")
