"""A plain pair of real daemons on free loopback ports, with whatever listens behind it.

What an operator does once (authority, Proxy ID, licence, credential) is done once for all tests, with the project's own
commands. The server runs as its console program, the client under twistd, so that both ways are taken.
"""

import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import Program, environment, finish, script
from smartproxy.testing.site import SMARTPROXY, TWISTD
from tests.process.clock import LIMIT_SECONDS, PATIENCE_SECONDS
from tests.process.sites import Log, stop

reactor: Any = installed_reactor

NAME = "inside-1"


def console(daemon: str) -> list[str]:
    """How to run a console program; from a bare checkout, where it is not installed, by its function."""
    program = script(f"smartproxy-plain-{daemon}")
    if Path(program[-1]).exists():
        return program
    return [sys.executable, "-c", f"from smartproxy.tap.console import plain_{daemon}_main as main; main()"]


def twistd(daemon: str) -> list[str]:
    """How to run a daemon under twistd."""
    return [*TWISTD, "--nodaemon", "--pidfile=", f"smartproxy-plain-{daemon}"]


class PlainSite:
    """One pair.

    :param folder: exists and is empty.
    :ivar proxy_id: the server's.
    :ivar port: the port that everybody outside connects to, while a client is connected.
    :ivar outgoing: where programs inside connect.
    :ivar forwarded: the port of each ``--forward``.
    """

    _made: ClassVar[tuple[Path, str] | None] = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.proxy_id = ""
        # A daemon that is started again finds its port free.
        self.internal, self.port, self.outgoing = held_port(), held_port(), 0
        self.forwarded: list[int] = []
        self.server: Program | None = None
        self.client: Program | None = None
        self._environment = environment() | {"HOME": str(folder), "TMPDIR": str(folder)}
        self._count = 0

    @property
    def licence(self) -> Path:
        """The server's licence."""
        return self.folder / "server" / "smartproxy.lic"

    @property
    def credential(self) -> Path:
        """The client's credential."""
        return self.folder / f"{NAME}.credential"

    async def create(self) -> None:
        """Take a copy of what was made once."""
        if PlainSite._made is None:
            PlainSite._made = await self._make(Path(tempfile.mkdtemp(prefix="plain-", dir=Path.cwd())))
        made, self.proxy_id = PlainSite._made
        shutil.copytree(made, self.folder, dirs_exist_ok=True)

    async def _make(self, folder: Path) -> tuple[Path, str]:
        """Do the operator's part."""

        async def run(*argv: str) -> str:
            done = await finish(reactor, argv, folder, self._environment)
            assert not done.status, f"{argv}: {done.err}"
            return done.out.strip()

        for name in ("server", "client", "backend"):
            (folder / name).mkdir(exist_ok=True)
        store = ("--state-dir", str(folder / "backend"))
        proxy_id = (await run(*console("server"), "-L", "--state-dir", str(folder / "server"))).split()[-1]
        await run(*SMARTPROXY, "authority", "create", "--site", "Muster GmbH", "--name", "127.0.0.1", *store)
        licence = str(folder / "server" / "smartproxy.lic")
        await run(*SMARTPROXY, "licence", "issue", proxy_id, "--until", "7d", "-o", licence, *store)
        credential = str(folder / f"{NAME}.credential")
        await run(*SMARTPROXY, "authority", "issue-client", NAME, "-o", credential, *store)
        return folder, proxy_id

    async def start_server(self, *switches: str) -> Log:
        """Start the server, on the port that it had before; its log."""
        argv = [*console("server"), "-d", "-i", f"127.0.0.1:{self.internal}", "-e", f"127.0.0.1:{self.port}"]
        self.server = self._program("server", [*argv, "-l", str(self.licence)], switches)
        log = Log(self.server)
        self.internal = (await log.event("server.started"))["port"]
        return log

    async def start_client(self, target: int, *switches: str) -> Log:
        """Start the client; everybody outside can connect when this is done. Its log."""
        server = Log(self.server)
        argv = [*twistd("client"), "-c", str(self.credential), "-e", f"127.0.0.1:{self.internal}"]
        argv += ["-i", f"127.0.0.1:{target}", "-Q", "127.0.0.1:0"]
        # What a target accepts is what a test connects.
        argv += ["--retry", "0"]
        self.client = self._program("client", argv, switches)
        log = Log(self.client)
        await log.event("tunnel.up")
        opened = log.events("listener.opened")
        self.outgoing, *self.forwarded = [event["port"] for event in opened]
        self.port = (await server.event("listener.opened"))["port"]
        return log

    def _program(self, name: str, argv: Sequence[str], switches: Sequence[str]) -> Program:
        self._count += 1
        journal = self.folder / f"{name}-{self._count}.jsonl"
        state = ("--state-dir", str(self.folder / name), "--log-json", str(journal), "--drain", "1")
        return Program(
            reactor,
            name,
            [*argv, *state, *switches],
            folder=self.folder,
            environment=self._environment,
            output=self.folder / f"{name}-{self._count}.log",
            journal=journal,
            prints=False,
        )

    async def stop(self) -> None:
        """Kill what still runs."""
        await stop([program for program in (self.client, self.server) if program is not None])


class PlainCase(TestCase):
    """Tests with a pair of their own each, unless they share one.

    :ivar site: the pair; nothing is started.
    """

    timeout = LIMIT_SECONDS

    def setUp(self) -> Deferred[None]:  # type: ignore[override]  # trial waits for it
        """Begin."""
        return Deferred.fromCoroutine(self.begin())

    async def begin(self) -> None:
        """Have a site."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir(parents=True)
        self.site = PlainSite(folder)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.site.stop()))
        await self.site.create()

    def listening(self, host: str = "127.0.0.1") -> socket.socket:
        """A target: a listening socket."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        target = socket.socket(family)
        target.bind((host, 0))
        target.listen(1024)
        self.addCleanup(target.close)
        return target

    def calling(self, port: int, host: str = "127.0.0.1") -> socket.socket:
        """A connection to a port here."""
        connection = socket.create_connection((host, port), timeout=PATIENCE_SECONDS)
        self.addCleanup(connection.close)
        return connection

    async def aside(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do something that waits for sockets in a thread."""
        return await deferToThread(work, *arguments)


def port_of(target: socket.socket) -> int:
    """Where it listens."""
    port: int = target.getsockname()[1]
    return port


def resident(program: Program | None) -> int:
    """The memory of a process, in octets."""
    assert program is not None
    pages = int(Path(f"/proc/{program.pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def kill(program: Program | None) -> None:
    """End a process without a word."""
    assert program is not None
    os.kill(program.pid, signal.SIGKILL)
