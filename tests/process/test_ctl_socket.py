"""The control socket as a file, with a real kernel: whose it is, what is in its way, and how long its name may be."""

import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smartproxy.ctl.asking import Connection, Unreachable
from smartproxy.ctl.daemon import Actions
from smartproxy.ctl.listener import (
    CALLERS_MOST,
    CLOSING_SECONDS,
    ControlSocket,
    OperatorConnection,
    OperatorFactory,
    peer_of,
)
from smartproxy.ctl.protocol import IDLE_SECONDS, REQUEST_OCTETS_MOST, AskGeneration, Refused, TellKill
from smartproxy.ctl.statuses import InForce
from tests.adapters.test_ctl_actions import Idle, NotedProcess

reactor: Any = installed_reactor


class Sockets(TestCase):
    """One daemon's socket in a folder."""

    def setUp(self) -> None:
        """Make the folder; nothing is open."""
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        self.path = self.folder / "daemon.sock"
        self.daemon = Idle(Clock())

    def open(self, path: Path | None = None) -> ControlSocket:
        """Open a socket; it is closed at the end."""
        control = ControlSocket(reactor, path or self.path, Actions(reactor, self.daemon, NotedProcess()))
        control.open()
        self.addCleanup(lambda: Deferred.fromCoroutine(control.close()))
        return control

    async def ask(self, path: Path | None = None) -> Any:
        """Ask as the command does: with plain sockets, while the reactor runs."""

        def asked() -> Any:
            with Connection(path or self.path) as connection:
                return connection.ask(AskGeneration())

        return await deferToThread(asked)

    def failed(self) -> str:
        """The cause of the one event that was told."""
        (told,) = self.daemon.told
        self.assertEqual((told["name"], told["path"]), ("ctl.failed", str(self.path)))
        self.assertIn("--ctl-socket", told["advice"])
        return str(told["message"])

    async def test_there_and_gone(self) -> None:
        """It is its owner's alone while it is open, answers, and is gone when it is closed; the umask is as it was."""
        self.addCleanup(os.umask, os.umask(0o022))
        control = self.open()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(os.umask(0o022), 0o022)
        self.assertEqual(await self.ask(), InForce(generation=5))
        await control.close()
        self.assertFalse(self.path.exists())
        unreachable = await self.assertFailure(Deferred.fromCoroutine(self.ask()), Unreachable)
        self.assertIn("no such socket", str(unreachable))

    async def test_left_by_a_dead_daemon(self) -> None:
        """A socket that nobody listens on makes way."""
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(self.path))
        unreachable = await self.assertFailure(Deferred.fromCoroutine(self.ask()), Unreachable)
        self.assertIn("no daemon listens", str(unreachable))
        self.open()
        self.assertEqual(await self.ask(), InForce(generation=5))
        self.assertEqual(self.daemon.told, [])

    async def test_another_daemon_s(self) -> None:
        """A socket that somebody listens on stays as it is; the event says so, and closing ours leaves it alone."""
        self.open()
        second = ControlSocket(reactor, self.path, Actions(reactor, self.daemon, NotedProcess()))
        second.open()
        self.assertEqual(self.failed(), "another daemon listens there")
        await second.close()
        self.assertEqual(await self.ask(), InForce(generation=5))

    def test_a_file_in_the_way(self) -> None:
        """A file that is no socket is not removed."""
        self.path.write_text("precious")
        self.open()
        self.assertIn("not a socket", self.failed())
        self.assertEqual(self.path.read_text(), "precious")

    def test_no_folder(self) -> None:
        """A place that does not exist hinders nothing but the control socket."""
        self.path = self.folder / "no" / "such" / "folder.sock"
        self.open()
        self.assertIn("No such file", self.failed())

    async def test_long_name(self) -> None:
        """A name that is too long for the kernel works all the same, from both ends."""
        folder = self.folder / ("x" * 200)
        folder.mkdir()
        control = self.open(folder / "daemon.sock")
        self.assertEqual(await self.ask(folder / "daemon.sock"), InForce(generation=5))
        await control.close()
        self.assertEqual(list(folder.iterdir()), [])

    async def test_callers_end_with_it(self) -> None:
        """Whoever is connected when the daemon ends is told by the end of the connection."""
        control = self.open()
        connection = await deferToThread(Connection, self.path)
        self.addCleanup(connection.close)
        self.assertEqual(await deferToThread(connection.ask, AskGeneration()), InForce(generation=5))
        refused = await self.assertFailure(deferToThread(connection.ask, TellKill(session="x")), Refused)
        self.assertIn("no live session", str(refused))
        await control.close()
        await self.assertFailure(deferToThread(connection.ask, AskGeneration()), Unreachable)

    async def test_answer_of_another_version(self) -> None:
        """What the command does not understand is told in words, with the place, and what to do."""
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.bind(str(self.path))
            waiting.listen()

            def other() -> None:
                connection, _ = waiting.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(b'{"ok": true, "answer": {"generation": "five"}}\n')

            answered = deferToThread(other)
            unreachable = await self.assertFailure(Deferred.fromCoroutine(self.ask()), Unreachable)
            await answered
        self.assertIn("answer.generation: is a text; has to be a number", str(unreachable))
        self.assertIn("is of a version before smartproxy", str(unreachable))
        self.assertIn("restart the daemon", str(unreachable))

    def test_the_kernel_names_the_caller(self) -> None:
        """Process and user of the other end are those that connected, whatever is said."""
        with socket.socket(socket.AF_UNIX) as waiting, socket.socket(socket.AF_UNIX) as calling:
            waiting.bind(str(self.path))
            waiting.listen()
            calling.connect(str(self.path))
            accepted, _ = waiting.accept()
            with accepted:
                self.assertEqual(peer_of(accepted), (os.getpid(), os.geteuid()))


class Unread(StringTransport):
    """A connection whose far end reads nothing: it closes only when it is aborted."""

    def __init__(self) -> None:
        super().__init__()
        # Accepted ends of a pair that the kernel names the test's own user for.
        self.pair = socket.socketpair(socket.AF_UNIX)

    def getHandle(self) -> socket.socket:
        """The socket."""
        return self.pair[0]


class Endings(SynchronousTestCase):
    """A connection that is refused is closed in any case: a caller that does not read cannot keep it."""

    def setUp(self) -> None:
        """A factory on a fake clock."""
        self.clock = Clock()
        self.factory = OperatorFactory(self.clock, Actions(self.clock, Idle(self.clock), NotedProcess()))

    def connect(self) -> tuple[OperatorConnection, Unread]:
        """One more caller."""
        connection, transport = self.factory.buildProtocol(None), Unread()
        self.addCleanup(transport.pair[0].close)
        self.addCleanup(transport.pair[1].close)
        connection.makeConnection(transport)
        return connection, transport

    def assert_aborted_in_time(self, transport: Unread) -> None:
        """It is closing; after the seconds of closing, and not before, it is aborted."""
        self.assertTrue(transport.disconnecting)
        self.clock.advance(CLOSING_SECONDS - 0.1)
        self.assertFalse(transport.disconnected)
        self.clock.advance(0.1)
        self.assertTrue(transport.disconnected)

    def test_endless_request(self) -> None:
        """A request without an end."""
        connection, transport = self.connect()
        connection.dataReceived(b"x" * (REQUEST_OCTETS_MOST + 2))
        self.assert_aborted_in_time(transport)

    def test_one_too_many(self) -> None:
        """A connection beyond those that may be open; the others stay for as long as they may be idle."""
        first, *_ = [self.connect() for _ in range(CALLERS_MOST)]
        self.assert_aborted_in_time(self.connect()[1])
        self.assertFalse(first[1].disconnecting)
        self.clock.advance(IDLE_SECONDS)
        self.assertTrue(first[1].disconnected)

    def test_nothing_is_left(self) -> None:
        """A connection that its caller closes in time leaves no timer behind."""
        connection, _ = self.connect()
        connection.dataReceived(b"x" * (REQUEST_OCTETS_MOST + 2))
        connection.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.factory.open, set())
