"""Daemons whose listening sockets are the service manager's, which the test plays."""

import errno
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path

import attrs

from smartproxy.testing.ports import held_port
from smartproxy.testing.programs import Program, ProgramFailed
from tests.process.lines import Caller
from tests.process.sites import Log, SiteCase, TestedSite, stop, until
from tests.process.steady_callers import SteadyCallers

ACTIVATED = """
import os, socket, sys
with socket.socket(socket.AF_UNIX) as manager:
    manager.connect({path!r})
    manager.sendall(b"server" if "smartproxy-server" in sys.argv else b"client")
    names, given, _, _ = socket.recv_fds(manager, 1000, 8)
for number, descriptor in enumerate(given):
    os.dup2(descriptor, 30 + number)
    os.close(descriptor)
for number in range(len(given)):
    os.dup2(30 + number, 3 + number)
    os.close(30 + number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)), LISTEN_FDNAMES=names.decode())
from twisted.scripts.twistd import run
run()
"""
"""The program of a daemon that a service manager starts with sockets, whose numbers begin with 3."""


class Manager:
    """Listens for daemons, and gives each that is started the sockets of its kind.

    :param ports: of each kind of daemon.
    """

    def __init__(self, ports: Mapping[bytes, tuple[int, ...]]) -> None:
        # A socket's path has at most 107 characters.
        self._folder = tempfile.TemporaryDirectory()
        self.path = f"{self._folder.name}/manager"
        self._sockets = {kind: [listening(port) for port in of_kind] for kind, of_kind in ports.items()}
        self._asked = socket.socket(socket.AF_UNIX)
        self._asked.bind(self.path)
        self._asked.listen()
        threading.Thread(target=self._give, name="manager", daemon=True).start()

    def _give(self) -> None:
        while True:
            try:
                asker, _ = self._asked.accept()
            except OSError:
                return
            with asker:
                given = self.given(asker.recv(6))
                names = ":".join(name for name, _ in given) or "none"
                socket.send_fds(asker, [names.encode()], [each for _, each in given])

    def given(self, kind: bytes) -> list[tuple[str, int]]:
        """Names and descriptors of what a daemon is given."""
        return [("smartproxy.socket", each.fileno()) for each in self._sockets[kind]]

    def stop(self) -> None:
        """Close everything."""
        self._asked.shutdown(socket.SHUT_RDWR)
        for each in (self._asked, *(each for of_kind in self._sockets.values() for each in of_kind)):
            each.close()
        self._folder.cleanup()


class Store(Manager):
    """Gives daemons what they gave it to keep.

    :ivar address: where daemons say words.
    :ivar kept: descriptors by their names.
    """

    def __init__(self) -> None:
        self.kept: dict[str, int] = {}
        super().__init__({})
        self.address = f"{self.path}-words"
        self._words = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._words.bind(self.address)
        threading.Thread(target=self._hear, name="store", daemon=True).start()

    def given(self, kind: bytes) -> list[tuple[str, int]]:
        """What is kept, whoever brought it."""
        return list(self.kept.items())

    def _hear(self) -> None:
        while True:
            word, descriptors, _, _ = socket.recv_fds(self._words, 1000, 8)
            lines = dict(line.split("=", 1) for line in word.decode().splitlines())
            if "FDSTORE" in lines:
                (self.kept[lines["FDNAME"]],) = descriptors
            elif "FDSTOREREMOVE" in lines:
                os.close(self.kept.pop(lines["FDNAME"]))
            elif "STOP" in lines:
                return

    def stop(self) -> None:
        """Close everything."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"STOP=1", self.address)
        super().stop()


def listening(port: int) -> socket.socket:
    """A local socket that listens."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    made.listen(4096)
    return made


class ManagedCase(SiteCase):
    """A site whose daemons are started by a service manager.

    :ivar manager: the manager, there before any daemon.
    """

    manager: Manager

    def managed_site(self) -> TestedSite:
        """The site, of which nothing runs yet."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        site = TestedSite(folder, self.made)
        site.program = ACTIVATED.format(path=self.manager.path)
        return site


class Activated(ManagedCase):
    """The partners' and the tunnel's port of the server, and the client's for calls, belong to the service manager."""

    async def begin(self) -> None:
        """Hold the ports before there is a daemon."""
        self.ports = {b"server": (held_port(), held_port()), b"client": (held_port(),)}
        self.manager = Manager(self.ports)
        self.addCleanup(self.manager.stop)
        await super().begin()

    async def _start(self) -> TestedSite:
        site = self.managed_site()
        (site.tunnel_port, site.port), (calls,) = self.ports.values()
        await site.smartproxy(
            *("settings", "set", "client.station.host", "127.0.0.1", "client.station.port", str(self.station.port)),
            *("server.listeners", f"127.0.0.1:{site.port}", "client.outbound.port", str(calls)),
        )
        await site.smartproxy("partner", "outbound", "ACME", "--host", "127.0.0.1", "--port", "1")
        await site.start_backend()
        self.server_log = Log(await site.start_server("--drain", "2"), whole=True)
        self.client_log = Log(await site.start_client("--drain", "2"), whole=True)
        return site

    async def test_restart(self) -> None:
        """Nobody is refused while either daemon is killed, is away, and is started again; sessions go on after it."""
        (tunnel, partners), (calls,) = self.ports.values()
        await self.server_log.event("listener.opened", port=partners)
        await self.client_log.event("listener.opened", port=calls)
        for log in (self.server_log, self.client_log):
            self.assertEqual(log.events("listener.idle"), [])
        await (await self.session(self.acme)).end()
        with SteadyCallers(tunnel, partners, calls) as callers:
            await away(self.site.server)
            before = callers.made
            await until(lambda: callers.made > before + 30, "callers connect while there is no server")
            server = Log(await self.site.start_server("--drain", "2"), whole=True)
            await server.event("listener.opened", port=partners)
            await away(self.site.client)
            before = callers.made
            await until(lambda: callers.made > before + 30, "callers connect while there is no client")
            client = Log(await self.site.start_client("--drain", "2"), whole=True)
            await client.event("listener.opened", port=calls)
            await (await self.session(elsewhere(self.acme))).end()
        self.assertEqual(callers.refused, [])


class StoredCase(ManagedCase):
    """The daemons open their ports themselves, and have the service manager keep them."""

    manager: Store

    async def begin(self) -> None:
        """Have a manager before there is a daemon."""
        self.manager = Store()
        self.addCleanup(self.manager.stop)
        await super().begin()

    async def _start(self) -> TestedSite:
        site = self.managed_site()
        self.partners = held_port()
        await site.smartproxy(
            *("settings", "set", "client.station.host", "127.0.0.1", "client.station.port", str(self.station.port)),
            *("server.listeners", f"127.0.0.1:{self.partners}"),
        )
        await site.start_backend()
        site._environment |= {"NOTIFY_SOCKET": self.manager.address, "FDSTORE": "64"}
        server = Log(await site.start_server("--drain", "2"), whole=True)
        await site.start_client("--drain", "2")
        await site.listening(server)
        return site

    async def moves(self, server: Log, tunnel: int, old: int, new: int) -> None:
        """The server listens for partners at another port: the old one is closed, and kept no longer."""
        await self.site.smartproxy("settings", "set", "server.listeners", f"127.0.0.1:{new}")
        await server.event("listener.closed", port=old)
        names = {f"stored-127.0.0.1-{port}" for port in (tunnel, new)}
        await until(lambda: set(self.manager.kept) == names, "the new port is kept, and the old one is not")
        with socket.socket() as caller:
            self.assertEqual(caller.connect_ex(("127.0.0.1", old)), errno.ECONNREFUSED)


class Stored(StoredCase):
    """A server that is killed."""

    async def test_killed(self) -> None:
        """Nobody is refused while a server that was killed is away; a port that it closes later is closed."""
        tunnel, partners = self.site.tunnel_port, self.site.port
        names = {f"stored-127.0.0.1-{port}" for port in (tunnel, partners)}
        await until(lambda: set(self.manager.kept) == names, "both ports are kept")
        with SteadyCallers(tunnel, partners) as callers:
            await away(self.site.server)
            before = callers.made
            await until(lambda: callers.made > before + 30, "callers connect while there is no server")
            server = Log(await self.site.start_server("--drain", "2"), whole=True)
            await server.event("listener.opened", port=partners)
            await (await self.session(elsewhere(self.acme))).end()
        self.assertEqual(callers.refused, [])
        await self.moves(server, tunnel, partners, held_port())


class StoredAfterRestart(StoredCase):
    """A server whose newer process did not come to serve."""

    async def test_restart_that_failed(self) -> None:
        """A port that the server closes after it is closed, and kept no longer."""
        assert self.site.server is not None
        server, folder = Log(self.site.server), self.site.folder / "server"
        tunnel, first, second = self.site.tunnel_port, held_port(), held_port()
        await self.site.smartproxy("settings", "set", "server.listeners", f"127.0.0.1:{first}")
        await server.event("listener.opened", port=first)
        wrong = folder / "smartproxy-server.logrc"
        wrong.write_text("no TOML")
        with self.assertRaises(ProgramFailed) as raised:
            await self.site.smartproxy("ctl", "restart", "--socket", str(folder / "smartproxy-server.sock"))
        self.assertIn("this one goes on", str(raised.exception))
        wrong.unlink()
        await self.moves(server, tunnel, first, second)


def elsewhere(caller: Caller) -> Caller:
    """The caller at an address of its own, of which no connections waited while there was no daemon."""
    return attrs.evolve(caller, source="127.7.7.7")


async def away(program: Program | None) -> None:
    """Kill a daemon."""
    assert program is not None
    os.kill(program.pid, signal.SIGKILL)
    await stop([program])
    await until(lambda: program.status is not None, "the daemon is gone")
