"""Ctrl-C while a program starts: it ends with 130, and without a word."""

import signal
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.testing.programs import environment

INTERRUPTED_IMPORT = """\
import os, signal, sys
from importlib.metadata import EntryPoint

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            os.kill(os.getpid(), signal.SIGINT)

place, moment = sys.argv[1:3]
sys.argv[1:] = ["--version"]
sys.meta_path.insert(0, Interrupt())
sys.exit(EntryPoint("program", place, "console_scripts").load()())
"""
"""What an installed script does, with an interrupt when a module is looked for."""
INTERRUPTED_WORK = """\
import sys
from unittest.mock import patch
from smartproxy.tap import console, programs
with patch.object(console, "server_main", side_effect=KeyboardInterrupt):
    sys.exit(programs.server())
"""
ENDED_WORK = """\
import os, signal, sys
from pathlib import Path
from smartproxy.net import files
from smartproxy.tap import command, programs

def work():
    files.replace(Path(sys.argv[1]), half)

def half(file):
    file.write(b"half of it")
    os.kill(os.getpid(), int(sys.argv[2]))

command.main = work
sys.exit(programs.command())
"""
"""A command that is ended while it writes a file."""
IGNORING = """\
import os, signal, sys
from smartproxy.tap import console, programs
signal.signal(signal.SIGINT, signal.SIG_IGN)
console.server_main = lambda: os.kill(os.getpid(), signal.SIGINT)
status = programs.server()
os.kill(os.getpid(), signal.SIGINT)
sys.exit(status)
"""


class InterruptedStart(SynchronousTestCase):
    """SIGINT comes before the program has a way of its own to end."""

    def end_of(self, text: str, *words: str) -> tuple[int, str]:
        """Run Python's text; the status, and what was written."""
        done = subprocess.run(
            [sys.executable, "-c", text, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env=environment(),
        )
        return done.returncode, done.stdout

    def test_while_it_is_imported(self) -> None:
        """Each installed program ends so, whatever it is importing: the first library, and one of its own modules."""
        places = {
            each.name: each.value for each in distribution("smartproxy").entry_points if each.group == "console_scripts"
        }
        self.assertEqual(len(places), 6, places)
        for name, place in places.items():
            for moment in ("attrs", "smartproxy.logs"):
                with self.subTest(name=name, moment=moment):
                    self.assertEqual(self.end_of(INTERRUPTED_IMPORT, place, moment), (130, ""))

    def test_while_it_works(self) -> None:
        """An interrupt that the program does not take itself is no traceback."""
        self.assertEqual(self.end_of(INTERRUPTED_WORK), (130, ""))

    def test_commands_that_are_ended(self) -> None:
        """A timeout and a terminal that is gone end a command in order: no half of a file stays, hidden or not."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for number in (signal.SIGTERM, signal.SIGHUP):
            self.assertEqual(self.end_of(ENDED_WORK, str(folder / "x.backup"), str(int(number))), (128 + number, ""))
            self.assertEqual(list(folder.iterdir()), [])

    def test_ignored(self) -> None:
        """A program whose caller ignores the signal goes on."""
        self.assertEqual(self.end_of(IGNORING), (0, ""))
