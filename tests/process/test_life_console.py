"""The console programs ``smartproxy-server`` and ``smartproxy-client``: background, PID files, signals for levels."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults

from smartproxy.testing.programs import Finished, environment, finish
from tests.process.sites import SiteCase, reactor, until

SERVER = [sys.executable, "-c", "from smartproxy.tap.console import server_main; server_main()"]
CLIENT = [sys.executable, "-c", "from smartproxy.tap.console import client_main; client_main()"]
LEVELS = {20: "trace", 21: "debug", 22: "info", 23: "error", 24: "critical"}


class ConsolePrograms(SiteCase):
    """Started as an init script starts them: they go to the background, and their PID file tells where they are."""

    async def begin(self) -> None:
        """Have folders of their own beside the site's daemons."""
        await super().begin()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        (self.folder / "identity.key").write_bytes((self.site.folder / "server" / "identity.key").read_bytes())
        (self.folder / "identity.key").chmod(0o600)
        self.pid_file = self.folder / "smartproxy-server.pid"
        self.json = self.folder / "log.jsonl"

    async def start(self, program: list[str], *more: str) -> Finished:
        """Start a program and wait until it has gone to the background, or has ended."""
        switches = ("--state-dir", str(self.folder), "--log-json", str(self.json), *more)
        if program is SERVER:
            switches += ("-i", "127.0.0.1:0", "-l", str(self.site.licence))
        return await finish(reactor, [*program, *switches], self.folder, environment())

    def running(self, pid_file: Path) -> int:
        """The process in a PID file; it is gone when the test ends."""
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        self.assertIn(b"smartproxy.tap.console", command)
        self.addCleanup(self.kill, pid)
        return pid

    def kill(self, pid: int) -> None:
        """See that a process of ours is gone."""
        if not self.gone(pid)():
            os.kill(pid, signal.SIGKILL)

    def gone(self, pid: int) -> Callable[[], bool]:
        """Whether a process has ended."""

        def look() -> bool:
            try:
                return b"smartproxy" not in Path(f"/proc/{pid}/cmdline").read_bytes()
            except FileNotFoundError:
                return True

        return look

    async def logged(self, *words: str) -> str:
        """Wait for a line of the log with all these words."""
        lines: list[str] = []

        def came() -> bool:
            text = self.json.read_text() if self.json.exists() else ""
            lines[:] = [line for line in text.splitlines() if all(word in line for word in words)]
            return bool(lines)

        await until(came, f"{words} in the log")
        return lines[0]

    async def test_server(self) -> None:
        """It goes to the background, keeps its PID file, is not started twice, and removes the file when it ends."""
        done = await self.start(SERVER, "--log-level", "debug")
        self.assertEqual((done.status, done.err), (0, ""))
        pid = self.running(self.pid_file)
        await self.logged("server.started")
        again = await self.start(SERVER)
        self.assertEqual(again.status, 1)
        for words in (str(self.pid_file), str(pid), f"kill -HUP {pid}"):
            self.assertIn(words, again.err)
        self.assertNotIn("--log-level", again.err)
        self.assertEqual(int(self.pid_file.read_text()), pid)
        os.kill(pid, signal.SIGHUP)
        await until(self.gone(pid), "its end")
        await self.logged("signal.received", "SIGHUP")
        await self.logged("server.stopped")
        self.assertFalse(self.pid_file.exists())

    async def test_stale_file(self) -> None:
        """A PID file of a process that is gone, or is another program's now, is taken over with a warning."""
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            ended.wait()
        for stale in (ended.pid, os.getppid()):
            self.pid_file.write_text(f"{stale}\n")
            done = await self.start(SERVER)
            self.assertEqual(done.status, 0)
            self.assertIn("was left by a process that is gone", done.err)
            self.assertNotIn(str(stale), done.err)
            pid = self.running(self.pid_file)
            await self.logged("pid_file.removed", str(stale))
            os.kill(pid, signal.SIGTERM)
            await until(self.gone(pid), "its end")

    async def test_two_at_once(self) -> None:
        """Of two that start at once one runs, and the file names it."""
        both = await gatherResults([Deferred.fromCoroutine(self.start(SERVER)) for _ in range(2)])
        self.assertEqual(sorted(done.status for done in both), [0, 1])
        self.running(self.pid_file)
        refused = next(done.err for done in both if done.status)
        self.assertIn(str(self.pid_file), refused)

    async def test_client(self) -> None:
        """The client does the same, in the place that it is told; while its backend is away, too."""
        pid_file = self.folder / "here.pid"
        token = str(self.site.folder / "client" / "token")
        switches = ("-U", "https://127.0.0.1:1", "-S", "127.0.0.1:1", "--token-file", token)
        done = await self.start(CLIENT, *switches, "--pid-file", str(pid_file))
        self.assertEqual((done.status, done.err), (0, ""))
        pid = self.running(pid_file)
        await self.logged("backend.unreachable")
        again = await self.start(CLIENT, *switches, "--pid-file", str(pid_file))
        self.assertEqual(again.status, 1)
        self.assertIn(f"process {pid}", again.err)
        os.kill(pid, signal.SIGINT)
        await until(self.gone(pid), "its end")
        self.assertFalse(pid_file.exists())

    async def test_levels(self) -> None:
        """Signals 20 to 24 set what is logged; each change is logged at the new level; none stops or kills it."""
        await self.start(SERVER)
        pid = self.running(self.pid_file)
        for number, level in LEVELS.items():
            os.kill(pid, number)
            await self.logged(f'"level":"{level}","name":"level.changed"', f"signal {number}")
            self.assertFalse(self.gone(pid)())
        os.kill(pid, signal.SIGTERM)
        await until(self.gone(pid), "its end")
