"""Programs of the test kit as processes: read while they run, stopped, and never left behind."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from smartproxy.testing import programs
from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import Program, ProgramFailed, environment, finish, module
from tests.process.clock import PATIENCE_SECONDS

reactor: Any = installed_reactor


class ProgramTests(TestCase):
    """A Python of its own for each test."""

    def setUp(self) -> None:
        """Make a folder."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def start(self, code: str) -> Program:
        """Run Python code."""
        program = Program(
            reactor,
            "probe",
            [sys.executable, "-c", code],
            folder=self.folder,
            environment=environment(),
            output=self.folder / "probe.log",
            journal=self.folder / "probe.jsonl",
            prints=True,
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(program.stop()))
        return program

    async def test_lines_are_read_as_they_come(self) -> None:
        """A line is there before the program ends; what is waited for may have come long ago."""
        program = self.start(
            "import os, time\n"
            'os.write(1, b\'{"n": 1}\\n{"n"\')\n'
            "while not os.path.exists('go'): time.sleep(0.01)\n"
            "os.write(1, b': 2}\\n')\n"
        )
        first = await program.wait(lambda record: record["n"] == 1, "one")
        self.assertEqual(first, {"n": 1})
        self.assertIsNone(program.status)
        (self.folder / "go").touch()
        await program.wait(lambda record: record["n"] == 2, "two")
        self.assertEqual(await program.end(), 0)
        self.assertEqual(program.records, [{"n": 1}, {"n": 2}])
        self.assertEqual(await program.wait(lambda record: record["n"] == 1, "one"), {"n": 1})

    async def test_end_instead_of_what_was_waited_for(self) -> None:
        """A program that ends too early is named, with its status and the end of its output."""
        program = self.start("import sys; sys.exit('no such licence')")
        with self.assertRaises(ProgramFailed) as raised:
            await program.wait(lambda record: True, "listening")
        self.assertIn("probe ended with status 1 before listening", str(raised.exception))
        self.assertIn("no such licence", str(raised.exception))

    async def test_waiting_ends(self) -> None:
        """A program that never says what is waited for is named after a while."""
        program = self.start("import time; time.sleep(60)")
        with self.assertRaises(ProgramFailed) as raised:
            await program.wait(lambda record: True, "listening", seconds=0.1)
        self.assertIn("probe: no listening within", str(raised.exception))

    async def test_a_stubborn_program_is_killed(self) -> None:
        """A program that does not heed SIGTERM is killed; stopping it again is no error."""
        self.patch(programs, "STOPPING_SECONDS", 0.2)
        program = self.start(
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "print('{}', flush=True); time.sleep(60)\n"
        )
        await program.wait(lambda record: True, "a word")
        await program.stop()
        self.assertEqual(program.status, -signal.SIGKILL)
        await program.stop()

    async def test_a_program_that_runs_to_its_end(self) -> None:
        """Status, output and errors of a program are told; settings of SmartProxy do not reach it."""
        self.patch(os, "environ", {**os.environ, "SMARTPROXY_TOKEN": "secret"})
        code = "import os, sys; print('SMARTPROXY_TOKEN' in os.environ); sys.exit('bad')"
        done = await finish(reactor, [sys.executable, "-c", code], self.folder, environment())
        self.assertEqual((done.status, done.out, done.err), (1, "False\n", "bad\n"))

    def test_dies_with_its_parent(self) -> None:
        """A program on the leash is gone when its parent was killed without a chance to do anything about it."""
        leash = module("smartproxy.testing.leash")
        probe = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
        parent = (
            "import os, subprocess, sys, time\n"
            f"subprocess.Popen({leash!r} + [str(os.getpid()), sys.executable, '-c', {probe!r}])\n"
            "time.sleep(60)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", parent], stdout=subprocess.PIPE, env=environment(), text=True
        ) as running:
            assert running.stdout is not None
            pid = int(running.stdout.readline())
            os.kill(pid, 0)
            running.kill()
            # The probe holds the other end of the pipe, and prints no more: it can only be read to its end.
            ended, _, _ = select.select([running.stdout], [], [], PATIENCE_SECONDS)
            if not ended:
                os.kill(pid, signal.SIGKILL)
            self.assertTrue(ended, "the probe lives on")


class CommandTests(TestCase):
    """``python -m smartproxy.testing station`` and ``partner``."""

    def setUp(self) -> None:
        """Make a folder with a file to send."""
        self.folder = Path(self.mktemp()).absolute()
        for name in ("station", "partner"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "order").write_bytes(b"order")
        (self.folder / "answer").write_bytes(b"answer")

    def start(self, name: str, *arguments: str) -> Program:
        """Run a command of the kit."""
        program = Program(
            reactor,
            name,
            [*module("smartproxy.testing"), name, "--json", "--inbox", str(self.folder / name), *arguments],
            folder=self.folder,
            environment=environment(),
            output=self.folder / f"{name}.log",
            journal=self.folder / f"{name}.jsonl",
            prints=True,
        )
        self.addCleanup(lambda: Deferred.fromCoroutine(program.stop()))
        return program

    async def test_a_file_each_way(self) -> None:
        """A partner's process sends a station's process a file and takes another one; the exit status says so."""
        waiting = ("--send", "O0099ACME", str(self.folder / "answer"))
        station = self.start("station", "--listen", f"127.0.0.1:{held_port()}", "--code", "O0013STATION", *waiting)
        port = (await station.wait(lambda record: record["event"] == "Listening", "listening"))["port"]
        call = ("--connect", f"127.0.0.1:{port}", "--code", "O0099ACME", "--station-code", "O0013STATION", "--no-tls")
        order = ("--send", str(self.folder / "order"))
        partner = self.start("partner", *call, *order)
        self.assertEqual(await partner.end(), 0)
        for folder, content in (("station", b"order"), ("partner", b"answer")):
            (path,) = (self.folder / folder).iterdir()
            self.assertEqual(path.read_bytes(), content)
        again = self.start("partner", *call, *order)
        self.assertEqual(await again.end(), 1)
        again.read()
        self.assertEqual([record["reason"] for record in again.records if record["event"] == "FileRefused"], [13])
        await station.stop()
        nobody = self.start("partner", *call)
        self.assertEqual(await nobody.end(), 1)
        self.assertIn("cannot connect", (self.folder / "partner.log").read_text())
