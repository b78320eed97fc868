"""Log files of real daemons: in the background, with several writers, killed, and at levels that signals set."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from smartproxy.testing.pki import TestCa
from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import environment, finish
from smartproxy.testing.site import SMARTPROXY
from tests.process.clock import LIMIT_SECONDS, PATIENCE_SECONDS
from tests.process.memory import PAGE
from tests.process.sites import SiteCase, reactor, until

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (TRACE|DEBUG|INFO|WARNING|ERROR|CRITICAL) +\S.*")
SERVER = [sys.executable, "-c", "from smartproxy.tap.console import server_main; server_main()"]
WRITER = """
import sys
from pathlib import Path
from twisted.logger import Logger
from smartproxy.logs.levels import Levels
from smartproxy.logs.log import Log
from smartproxy.logs.logrc import DailyFiles, LogLayout

log = Log("smartproxy-test", Path(sys.argv[1]), Levels())
log.open((DailyFiles(layout=LogLayout.JSON),), output=sys.stdout, errors=sys.stderr)
logger = Logger(namespace=sys.argv[2], observer=log)
number = 0
while number < int(sys.argv[3]):
    logger.error("{words}", words=f"{number} " + "x" * (number % 1500))
    number += 1
"""


class Servers(TestCase):
    """Servers as an operator starts them, in the background."""

    timeout = LIMIT_SECONDS

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Have a licence and an identity."""
        return Deferred.fromCoroutine(self.begin())

    async def begin(self) -> None:
        """Make a state folder."""
        self.made = await SiteCase._have_made()
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.logs = self.folder / "log"

    def start(self, name: str, *switches: str, program: Sequence[str] = SERVER) -> int:
        """Start a server in the background; its process ID."""
        state = self.folder / name
        shutil.copytree(self.made.folder / "server", state)
        words = ["--listen", "127.0.0.1:0", "--licence", str(state / "smartproxy.lic"), "--state-dir", str(state)]
        done = subprocess.run(
            [*program, *words, *switches],
            env=environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.errors = done.stderr
        pid = int((state / "smartproxy-server.pid").read_text())
        self.assertTrue(
            done.stdout.startswith(f"smartproxy-server: process {pid} runs in the background; "), done.stdout
        )
        self.addCleanup(self.kill, pid)
        return pid

    def kill(self, pid: int) -> None:
        """End a process that this test started."""
        command = Path(f"/proc/{pid}/cmdline")
        if command.exists() and str(self.folder).encode() in command.read_bytes():
            os.kill(pid, signal.SIGKILL)

    def lines(self, folder: Path) -> list[str]:
        """The lines of the one file in a folder."""
        (path,) = folder.iterdir()
        self.assertRegex(path.name, r"^smartproxy-server-\d{4}-\d\d-\d\d\.log$")
        self.assertEqual((path.stat().st_mode & 0o777, folder.stat().st_mode & 0o777), (0o640, 0o750))
        return path.read_text().splitlines()

    async def told(self, folder: Path, words: str) -> None:
        """Wait until a line with these words is there."""
        await until(lambda: any(re.search(words, line) for line in self.lines(folder)), words)

    async def ended(self, name: str) -> None:
        """Wait until a server has removed its PID file."""
        path = self.folder / name / "smartproxy-server.pid"
        await until(lambda: not path.exists(), f"{name} ended")


class Background(Servers):
    """Daily files."""

    async def test_old_logrc(self) -> None:
        """An old logrc, converted and put beside the program, says where the daemon logs, and what."""
        programs = self.folder / "programs"
        programs.mkdir()
        old, program = programs / "os4x_proxyserver.logrc", programs / "smartproxy-server"
        program.write_text(SERVER[-1])
        old.write_text(
            '<?xml version="1.0"?><!DOCTYPE log4c SYSTEM ""><log4c>'
            '<category name="os4x_proxyserver" priority="trace" appender="daily"/>'
            f'<appender name="daily" type="os4x_appender" logdir="{self.logs}" layout="os4x_layout"/></log4c>'
        )
        command = [*SMARTPROXY, "logrc", "convert", str(old), "-o", str(programs / "smartproxy-server.logrc")]
        done = await finish(reactor, command, self.folder, environment())
        self.assertEqual(done.status, 0, done.err)
        pid = self.start("one", program=[sys.executable, str(program)])
        await self.told(self.logs, r"server\.started")
        os.kill(pid, signal.SIGTERM)
        await self.ended("one")
        self.assertFalse((self.folder / "one" / "log").exists())

    async def test_daily_file_and_signals(self) -> None:
        """A daemon writes its daily file; signals 20 to 24 set levels, each told at the new level, FATAL too."""
        pid = self.start("one")
        folder = self.folder / "one" / "log"
        await self.told(folder, r"server\.started")
        words = ["trace", "debug", "info", "error", "critical"]
        for number, word in zip(range(20, 25), words, strict=True):
            os.kill(pid, number)
            await self.told(
                folder, rf'{word.upper()} +level\.changed "signal {number}" cause=operator\.signal mode={word}$'
            )
        before = len(self.lines(folder))
        os.kill(pid, signal.SIGTERM)
        await self.ended("one")
        self.assertEqual(len(self.lines(folder)), before, "at FATAL even the end is silent")
        self.assertTrue(all(map(LINE.fullmatch, self.lines(folder))))

    async def test_two_daemons_in_one_folder(self) -> None:
        """Two processes write to one file, and every line is whole."""
        first = self.start("one", "--log-dir", str(self.logs), "--log-level", "trace")
        second = self.start("two", "--log-dir", str(self.logs), "--log-level", "trace")
        for _ in range(20):
            for pid in (first, second):
                os.kill(pid, 20)
        for pid in (first, second):
            os.kill(pid, signal.SIGTERM)
        for name in ("one", "two"):
            await self.ended(name)
        lines = self.lines(self.logs)
        self.assertTrue(all(map(LINE.fullmatch, lines)), lines)
        self.assertEqual(sum("server.stopped" in line for line in lines), 2)

    async def test_log_that_cannot_be_written(self) -> None:
        """The daemon says so before it goes to the background, and serves all the same."""
        (self.folder / "file").touch()
        pid = self.start("one", "--log-dir", str(self.folder / "file"))
        self.assertIn("smartproxy-server: log: ", self.errors)
        self.assertEqual(self.errors.count("\n"), 1)
        self.assertTrue(Path(f"/proc/{pid}").exists())

    async def test_full_disk(self) -> None:
        """A file on a full disk is told once, on standard error and in the other file, and the daemon serves."""
        logrc = self.folder / "full.logrc"
        logrc.write_text('[[appenders]]\ntype = "file"\npath = "/dev/full"\n[[appenders]]\ntype = "daily"\n')
        pid = self.start("one", "--logrc", str(logrc), "--log-level", "trace")
        folder = self.folder / "one" / "log"
        await self.told(folder, r"server\.started")
        os.kill(pid, 20)
        await self.told(folder, r"level\.changed")
        self.assertEqual(self.errors, "smartproxy-server: log: /dev/full: No space left on device\n")
        os.kill(pid, signal.SIGTERM)
        await self.ended("one")
        await self.told(folder, r"server\.stopped")

    async def test_several_writers_killed_at_any_time(self) -> None:
        """Of four processes that write as fast as they can two are killed: each line of the others is whole.

        Of one that is killed the last line may be cut, at the end of a page of the file, where the kernel looks for
        SIGKILL; the next line of another process then follows on it, and is whole, too.
        """
        argv = [sys.executable, "-c", WRITER, str(self.logs)]
        writers = [
            subprocess.Popen([*argv, name, str(count)], env=environment())
            for name, count in (("a", 10**9), ("b", 3000), ("c", 10**9), ("d", 3000))
        ]
        for writer in (writers[1], writers[3]):
            self.assertEqual(writer.wait(PATIENCE_SECONDS), 0)
        for writer in (writers[0], writers[2]):
            writer.kill()
            writer.wait()
        (path,) = self.logs.iterdir()
        lines, _, last = path.read_text().rpartition("\n")
        numbers: dict[str, int] = dict.fromkeys("abcd", 0)
        offset, cut = 0, 0
        for line in lines.encode().split(b"\n"):
            start = line.rindex(b'{"time":')
            if start:
                cut += 1
                self.assertEqual((offset + start) % PAGE, 0)
            offset += len(line) + 1
            record = json.loads(line[start:])
            name = record["namespace"]
            self.assertTrue(record["message"].startswith(f"{numbers[name]} "))
            numbers[name] += 1
        self.assertLessEqual(cut, 2, "those that were killed")
        self.assertEqual((numbers["b"], numbers["d"]), (3000, 3000))
        self.assertGreater(numbers["a"] + numbers["c"], 0)
        self.assertNotIn("\n", last)


class Received(Protocol):
    """A syslog that keeps everything, and counts the connections that are open."""

    def connectionMade(self) -> None:
        """One more."""
        vars(self.factory)["open"] += 1

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """One less."""
        vars(self.factory)["open"] -= 1

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        vars(self.factory)["octets"] += data


def messages(octets: bytes) -> list[bytes]:
    """Messages with their lengths in front."""
    found = []
    while octets:
        length, _, octets = octets.partition(b" ")
        found.append(octets[: int(length)])
        octets = octets[int(length) :]
    return found


class Network(Servers):
    """A real daemon that logs to a syslog."""

    async def logged(self, transport: str, port: int, *more: str) -> None:
        """Start a server that logs there, and end it."""
        logrc = self.folder / f"{transport}.logrc"
        host = "127.0.0.1" if transport != "tls" else "localhost"
        lines = ["[[appenders]]", 'type = "syslog"', f'transport = "{transport}"', f'host = "{host}"', f"port = {port}"]
        logrc.write_text("\n".join([*lines, *more]))
        self.pid = self.start(transport, "--logrc", str(logrc))

    def assert_whole(self, found: list[bytes]) -> None:
        """The messages are those of RFC 5424, and tell of the start."""
        form = re.compile(rb"<\d+>1 \S+Z \S+ smartproxy-server %d ([a-z_.]+) - \1" % self.pid)
        self.assertTrue(all(map(form.match, found)), found)
        self.assertTrue(any(b" server.started - server.started version=" in each for each in found))

    async def stream(self, transport: str, options: CertificateOptions | None, *more: str) -> None:
        """Take what a server says from its start to its end."""
        factory = Factory.forProtocol(Received)
        kept = vars(factory)
        kept["octets"], kept["open"] = b"", 0
        if options is None:
            port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        else:
            port = reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        await self.logged(transport, port.getHost().port, *more)
        await until(lambda: b"server.started" in kept["octets"], "the start is told")
        os.kill(self.pid, signal.SIGTERM)
        await until(lambda: b" server.stopped - " in kept["octets"], "the end is told")
        self.assert_whole(messages(kept["octets"]))
        await until(lambda: not kept["open"], "the connection ends")

    async def test_tcp(self) -> None:
        """Over TCP, to the last word."""
        await self.stream("tcp", None)

    async def test_tls(self) -> None:
        """Over TLS, checked by the authority that the logrc names."""
        authority = TestCa.root("syslog CA")
        credential = authority.issue("localhost", sans=["DNS:localhost"])
        (self.folder / "ca.pem").write_bytes(authority.certificate_pem)
        files = credential.write(self.folder, "syslog")
        pem = files.certificate.read_bytes() + files.key.read_bytes()
        await self.stream("tls", PrivateCertificate.loadPEM(pem).options(), f'ca = "{self.folder / "ca.pem"}"')

    async def test_udp(self) -> None:
        """Over UDP, a message a datagram."""
        found: list[bytes] = []

        class Receiver(DatagramProtocol):
            def datagramReceived(self, datagram: bytes, addr: object) -> None:
                found.append(datagram)

        port = reactor.listenUDP(0, Receiver(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        await self.logged("udp", port.getHost().port)
        await until(lambda: any(b"server.started" in each for each in found), "the start is told")
        self.assert_whole(found)

    async def test_tls_without_a_name(self) -> None:
        """A receiver whose certificate names no host gets nothing, although the authority issued it."""
        authority = TestCa.root("syslog CA")
        (self.folder / "ca.pem").write_bytes(authority.certificate_pem)
        credential = authority.issue("localhost")
        options = PrivateCertificate.loadPEM(credential.certificate_pem + credential.key_pem).options()
        factory = Factory.forProtocol(Received)
        kept = vars(factory)
        kept["octets"], kept["open"] = b"", 0
        port = reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        more = (f'ca = "{self.folder / "ca.pem"}"', "[[appenders]]", 'type = "daily"')
        await self.logged("tls", port.getHost().port, *more)
        await self.told(self.folder / "tls" / "log", r"appender\.failed")
        self.assertEqual(kept["octets"], b"")
        await until(lambda: not kept["open"], "the connection ends")

    async def test_nobody_listens(self) -> None:
        """A syslog that is away is told in the daily file, and hinders nothing."""
        await self.logged("tcp", held_port(), "[[appenders]]", 'type = "daily"')
        folder = self.folder / "tcp" / "log"
        await self.told(folder, r"appender\.failed")
        await self.told(folder, r"server\.started")
