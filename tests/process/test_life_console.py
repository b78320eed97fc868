"""The console programs ``smartproxy-server`` and ``smartproxy-client``: background, PID files, signals for levels."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults

from smartproxy.testing.programs import Finished, environment, finish
from smartproxy.testing.site import TWISTD
from tests.process.sites import SiteCase, reactor, until

SERVER = [sys.executable, "-c", "from smartproxy.tap.console import server_main; server_main()"]
SLOW_SERVER = [
    sys.executable,
    "-c",
    "import time; from twisted.internet import reactor\n"
    "run = reactor.run; reactor.run = lambda: (time.sleep(1.5), run())\n"
    "from smartproxy.tap.console import server_main; server_main()",
]
"""A server that needs a while from its start to the first turn of its reactor."""
HELD_SERVER = [
    sys.executable,
    "-c",
    "import os, time; from twisted.internet import reactor\n"
    "def run(run=reactor.run):\n"
    "    while not os.path.exists('go'): time.sleep(0.01)\n"
    "    run()\n"
    "reactor.run = run\n"
    "from smartproxy.tap.console import server_main; server_main()",
]
"""A server that waits for a file ``go`` before the first turn of its reactor."""
PLUGIN = [*TWISTD, "smartproxy-server"]
SERVERS = (SERVER, SLOW_SERVER, PLUGIN)
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
        if program in SERVERS:
            switches = (*self.listening(), *switches)
        return await finish(reactor, [*program, *switches], self.folder, environment())

    def listening(self) -> tuple[str, ...]:
        """What a server listens at, and by what licence."""
        return ("-i", "127.0.0.1:0", "-l", str(self.site.licence))

    def running(self, pid_file: Path) -> int:
        """The process in a PID file; it is gone when the test ends."""
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        self.assertIn(str(self.folder).encode(), command)
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
        started = json.loads(await self.logged("server.started"))
        self.assertEqual(
            done.out,
            f"smartproxy-server: process {pid} runs in the background; listens at 127.0.0.1:{started['port']}; "
            f"logs to {self.folder / 'log'}, {self.json}\n",
        )
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

    async def test_signal_at_once(self) -> None:
        """Whoever starts it may send it any of its signals as soon as the start has returned: none meets no handler."""
        for number in (20, signal.SIGTERM):
            done = await self.start(SLOW_SERVER, "--log-level", "debug")
            self.assertEqual((done.status, done.err), (0, ""))
            pid = self.running(self.pid_file)
            os.kill(pid, number)
            if number == 20:
                await self.logged("level.changed", "signal 20")
                os.kill(pid, signal.SIGTERM)
            await until(self.gone(pid), "its end")
            await self.logged("signal.received", "SIGTERM: drain")
            self.assertFalse(self.pid_file.exists())
            self.json.unlink()

    async def test_signal_while_it_starts(self) -> None:
        """A signal that asks it to end before it runs is no reason to leave anything behind: it runs, and ends."""
        switches = ("-i", "127.0.0.1:0", "-l", str(self.site.licence), "--state-dir", str(self.folder), "-d")
        words = [*HELD_SERVER, *switches, "--log-json", str(self.json)]
        with subprocess.Popen(words, cwd=self.folder, env=environment(), stdout=subprocess.DEVNULL) as process:
            self.addCleanup(self.kill, process.pid)
            await until(self.pid_file.exists, "its PID file")
            self.assertEqual(self.pid_file.read_text(), "", "its number is not told before its signals are handled")
            process.send_signal(signal.SIGTERM)
            (self.folder / "go").touch()
            await until(lambda: process.poll() is not None, "its end")
        self.assertEqual(process.returncode, 0)
        await self.logged("server.stopped")
        self.assertFalse(self.pid_file.exists())

    async def test_start_that_fails(self) -> None:
        """The caller ends with the daemon's status, and one line says which port is taken; no PID file is left."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            for program in (SERVER, PLUGIN):
                for more in ((), ("-d",)):
                    done = await self.start(program, *more, "-i", address)
                    self.assertEqual(done.status, 1)
                    self.assertEqual(
                        done.err,
                        f"smartproxy-server: cannot listen at {address}: Address already in use; "
                        "choose another port, or stop the program that uses it\n",
                    )
                    self.assertFalse(self.pid_file.exists())

    async def test_process_in_the_background(self) -> None:
        """It is in a session that it does not lead, without terminal and standard files; files are private."""
        for program in (SERVER, PLUGIN):
            await self.start(program)
            pid = self.running(self.pid_file)
            files = {os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)}
            self.assertEqual(files, {"/dev/null"})
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            session, terminal = int(fields[3]), int(fields[4])
            self.assertNotIn(session, (pid, os.getsid(0)))
            self.assertEqual(terminal, 0)
            self.assertIn("Umask:\t0077", Path(f"/proc/{pid}/status").read_text())
            self.assertEqual(os.getsid(pid), session)
            os.kill(pid, signal.SIGTERM)
            await until(self.gone(pid), "its end")

    async def test_standard_files_that_are_none(self) -> None:
        """It starts all the same where standard input, output or error is closed, or takes nothing."""
        closed = [(SERVER, files) for files in (">&-", "2>&-", "<&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full")]
        for program, files in [*closed, (PLUGIN, "<&- >&- 2>&-")]:
            command = ["/bin/sh", "-c", f'exec "$@" {files}', "sh", *program]
            done = await self.start(command, *self.listening())
            self.assertEqual((done.status, done.err), (0, ""), files)
            pid = self.running(self.pid_file)
            self.assertEqual({os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)}, {"/dev/null"}, files)
            os.kill(pid, signal.SIGTERM)
            await until(self.gone(pid), "its end")
            self.assertFalse(self.pid_file.exists())

    async def test_plugin(self) -> None:
        """By twistd it is the same: PID file and lock in the state folder, ``-d`` for the foreground."""
        done = await self.start(PLUGIN)
        self.assertEqual((done.status, done.err), (0, ""))
        pid = self.running(self.pid_file)
        self.assertTrue(done.out.startswith(f"smartproxy-server: process {pid} runs in the background; listens at "))
        for program in (PLUGIN, SERVER):
            again = await self.start(program)
            self.assertEqual(again.status, 1)
            self.assertIn(f"process {pid} is running and holds {self.pid_file}", again.err)
        os.kill(pid, signal.SIGTERM)
        await until(self.gone(pid), "its end")
        self.assertEqual(list(self.folder.glob("*.pid")), [])
        ended = Deferred.fromCoroutine(self.start(PLUGIN, "-d"))
        await until(lambda: self.pid_file.exists() and self.pid_file.read_text() != "", "its PID file")
        pid = self.running(self.pid_file)
        self.assertEqual(os.getsid(pid), os.getsid(0))
        os.kill(pid, signal.SIGTERM)
        done = await ended
        self.assertEqual(done.status, 0)
        self.assertIn("server.stopped", done.out)
