"""Listening sockets that a daemon was given by whoever started it."""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet import endpoints, reactor
from twisted.internet.endpoints import _SystemdParser
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net import listeners
from smartproxy.net.listeners import Listeners
from smartproxy.net.transport.inherited import INHERITED, Inherited, NotListening, given_by_manager
from smartproxy.net.transport.sockets import StreamPort, listen_tcp
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.settings import Listener
from tests.adapters.rig import Journal
from tests.source import ROOT


class Given(SynchronousTestCase):
    """Which socket is used for which port."""

    def listening(self, host: str, *, both: bool = True) -> socket.socket:
        """A socket that listens.

        :param both: whether one on all addresses takes IPv4, too.
        """
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.addCleanup(made.close)
        if ":" in host:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        made.bind((host, 0))
        made.listen()
        return made

    def given(self, *sockets: socket.socket) -> Inherited:
        """A process that was given copies of these."""
        inherited = Inherited()
        inherited.keep([os.dup(each.fileno()) for each in sockets])
        return inherited

    def lent(self, inherited: Inherited, asked: Sequence[tuple[str, int]]) -> list[bool]:
        """Whether a socket is lent for each address and port."""
        found = [inherited.lend(host, port) for host, port in asked]
        for each in found:
            if each is not None:
                each.close()
        return [each is not None for each in found]

    def test_addresses(self) -> None:
        """The address has to be the same; a socket on all addresses of both families serves each family's."""
        one, other = self.listening("127.0.0.1"), self.listening("127.0.0.2")
        both, six = self.listening("::"), self.listening("::", both=False)
        inherited = self.given(one, other, both, six)
        port, second, all_of_both, all_of_six = (each.getsockname()[1] for each in (one, other, both, six))
        for host, number, found in (
            ("127.0.0.1", port, True),
            ("127.0.0.2", port, False),
            ("0.0.0.0", port, False),
            ("127.0.0.1", second, False),
            ("127.0.0.2", second, True),
            ("::", all_of_both, True),
            ("0.0.0.0", all_of_both, True),
            ("", all_of_both, True),
            ("127.0.0.1", all_of_both, False),
            ("::", all_of_six, True),
            ("0.0.0.0", all_of_six, False),
        ):
            self.assertEqual(self.lent(inherited, [(host, number)]), [found], (host, number))

    def test_lent_again(self) -> None:
        """What was lent is closed by its borrower, and can be lent again: the socket itself goes on."""
        one = self.listening("127.0.0.1")
        port = one.getsockname()[1]
        inherited = self.given(one)
        one.close()
        self.assertEqual(self.lent(inherited, [("127.0.0.1", port)] * 2), [True, True])
        with socket.create_connection(("127.0.0.1", port)):
            borrowed = inherited.lend("127.0.0.1", port)
            assert borrowed is not None
            accepted, _ = borrowed.accept()
            accepted.close()
            self.assertFalse(borrowed.getblocking())
            borrowed.close()

    def test_environment(self) -> None:
        """No program that the daemon starts is told of the sockets, which it does not have."""
        self.patch(_SystemdParser, "_sddaemon", ListenFDs([3, 4], ("a", "b")))
        environment = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "HOME": "/"}
        self.assertEqual((given_by_manager(environment), environment), (([3, 4], []), {"HOME": "/"}))
        environment = {"LISTEN_FDNAMES": "unit.socket:stored-127.0.0.1-6619"}
        self.assertEqual(given_by_manager(environment), ([3], [4]))

    def test_another_twisted(self) -> None:
        """A Twisted that does not keep them where this one does has left them in the environment."""
        for other in (None, object()):
            self.patch(endpoints, "_SystemdParser", other)
            environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:stored-x", "A": "b"}
            self.assertEqual((given_by_manager(environment), environment), (([3], [4]), {"A": "b"}))
            self.assertEqual(given_by_manager(environment), ([], []))

    def test_imports_without_the_private_name(self) -> None:
        """A Twisted without the private name keeps no module from being imported."""
        program = (
            "from twisted.internet import endpoints\n"
            "del endpoints._SystemdParser\n"
            "from smartproxy.net.transport.inherited import given_by_manager\n"
            "print(given_by_manager({}))"
        )
        made = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(made.stdout, "([], [])\n", made.stderr)

    def test_store(self) -> None:
        """A port that is opened is given to the manager to keep, until it is closed and no other process has it."""
        told: list[tuple[str, int]] = []
        self.patch(INHERITED, "store", lambda word, descriptors: told.append((word, len(descriptors))))
        for shared in (False, True):
            port: Any = listen_tcp(reactor, 0, Factory(), interface="127.0.0.1")
            name = f"FDNAME=stored-127.0.0.1-{port.getHost().port}"
            self.assertEqual(told, [(f"FDSTORE=1\n{name}", 1)])
            told.clear()
            if shared:
                port.share()
            port.connectionLost(Failure(ConnectionDone()))
            self.assertEqual(told, [] if shared else [(f"FDSTOREREMOVE=1\n{name}", 0)])
            told.clear()

    def test_shared(self) -> None:
        """A port that is closed here goes on in the process that it was handed to."""
        for shared in (True, False):
            reactor = MemoryReactorClock()
            port = StreamPort(0, Factory(), 50, "127.0.0.1", reactor)
            port.startListening()
            number = port.socket.getsockname()[1]
            other = port.socket.dup()
            self.addCleanup(other.close)
            if shared:
                port.share()
            port.connectionLost(Failure(ConnectionDone()))
            with socket.socket() as caller:
                self.assertEqual(caller.connect_ex(("127.0.0.1", number)), 0 if shared else errno.ECONNREFUSED)

    def test_what_is_none(self) -> None:
        """A file, a datagram socket, a connection and a UNIX socket are refused with what to do."""
        datagrams, unix = socket.socket(type=socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX)
        for each in (datagrams, unix, socket.socket()):
            self.addCleanup(each.close)
            with self.assertRaises(NotListening) as raised:
                self.given(each)
            self.assertIn("ListenStream=", str(raised.exception))
        with open(os.devnull, encoding="ascii") as file:
            self.assertRaises(NotListening, Inherited().keep, [os.dup(file.fileno())])

    def test_handed_over(self) -> None:
        """A socket of the daemon before is closed with the port that used it, or when it turns out that none does.

        Then the service manager closes its own, too: it would take callers whom nobody answers.
        """
        used, unused = self.listening("127.0.0.1"), self.listening("127.0.0.1")
        inherited = Inherited()
        inherited.keep([os.dup(each.fileno()) for each in (used, unused)], handed_over=True)
        ports = [each.getsockname()[1] for each in (used, unused)]
        for each in (used, unused):
            each.close()
        self.assertEqual((inherited.managed, inherited.waiting), ([], True))
        self.assertEqual(self.lent(inherited, [("127.0.0.1", ports[0])]), [True])
        told: list[str] = []
        inherited.store = lambda text, descriptors: told.append(text)
        self.assertEqual(inherited.idle(), [])
        self.assertEqual(told, [f"FDSTOREREMOVE=1\nFDNAME=stored-127.0.0.1-{ports[1]}"])
        for port in ports:
            with self.assertRaises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()

    def test_idle(self) -> None:
        """A socket that no port of the configuration uses is told once, when all ports are open."""
        used, unused = self.listening("127.0.0.1"), self.listening("127.0.0.1")
        inherited = self.given(used, unused)
        self.patch(listeners, "INHERITED", inherited)
        self.lent(inherited, [("127.0.0.1", used.getsockname()[1])])
        reactor = MemoryReactorClock()
        journal = Journal(reactor)
        ports = Listeners(reactor, object, journal.events)  # type: ignore[arg-type]  # nobody connects
        ports.have((), "nothing")
        self.assertEqual(journal.names(), [])
        for _ in range(2):
            ports.have((Listener(address="127.0.0.1", port=6619),), "configured")
            self.assertEqual(journal.of("listener.idle"), [])
        reactor.advance(2 * listeners.IDLE_SECONDS)
        told = journal.the("listener.idle")
        self.assertEqual(HostPort(str(told["address"]), int(str(told["port"]))), HostPort(*unused.getsockname()))
        self.assertIn("ListenStream=", str(told["advice"]))
