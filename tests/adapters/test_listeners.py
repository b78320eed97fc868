"""The ports that a daemon opens: why one cannot be opened."""

import errno
import os
import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.listeners import RETRY_SECONDS, Listeners, listen_for_clients
from smartproxy.net.transport.sockets import StreamPort
from smartproxy.policy import limits
from smartproxy.policy.settings import Listener
from tests.adapters.ports import PortsReactor
from tests.adapters.rig import Journal


class FailingReactor(MemoryReactorClock):
    """A reactor that opens no port.

    :ivar error: what the system says.
    """

    error: Any = None

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Part of the interface."""
        raise CannotListenError(interface, port, self.error)


class Changes(SynchronousTestCase):
    """Ports that change while the daemon runs."""

    IPV4, IPV6 = Listener(address="0.0.0.0", port=6619), Listener(address="::", port=6619)

    def setUp(self) -> None:
        """Ports that are open on IPv4."""
        self.reactor = PortsReactor()
        self.journal = Journal(self.reactor)
        self.listeners = Listeners(self.reactor, Factory, self.journal.events)
        self.listeners.have((self.IPV4,), "start")

    @property
    def open(self) -> list[str]:
        """The addresses of the open ports, in order."""
        return [port.interface for port in self.reactor.ports]

    def test_same_port_on_other_addresses(self) -> None:
        """The old port is closed wholly before the new one is opened, so that the two never meet."""
        self.listeners.have((self.IPV6,), "the configuration")
        self.reactor.advance(0)
        self.assertEqual((self.open, self.listeners.open), (["::"], {self.IPV6}))
        self.assertEqual(self.journal.names(), ["listener.opened", "listener.closed", "listener.opened"])

    def test_told_when_it_is_closed(self) -> None:
        """That a port is closed is told once nobody can connect to it any more, and not while it is being closed."""
        self.listeners.have((), "the end")
        self.assertEqual((self.open, self.journal.names()), (["0.0.0.0"], ["listener.opened"]))
        self.reactor.advance(0)
        self.assertEqual((self.open, self.journal.names()[1:]), ([], ["listener.closed"]))

    def test_changed_back_while_closing(self) -> None:
        """What is wanted last is open in the end, however often that changed while a port was being closed."""
        self.listeners.have((self.IPV6,), "the configuration")
        self.listeners.have((self.IPV4,), "the configuration")
        self.reactor.advance(0)
        self.assertEqual(self.open, ["0.0.0.0"])
        self.listeners.have((self.IPV6,), "the configuration")
        self.listeners.have((), "the end")
        self.reactor.advance(RETRY_SECONDS)
        self.assertEqual((self.open, self.reactor.getDelayedCalls()), ([], []))

    def test_port_of_another_program(self) -> None:
        """It is tried again until it is free: told once that it failed, and once that it is open."""
        self.reactor.taken.add(6619)
        self.listeners.have((self.IPV6,), "the configuration")
        self.reactor.pump([0, *[RETRY_SECONDS] * 5])
        self.listeners.have((self.IPV6,), "another generation")
        self.assertEqual((self.open, self.listeners.open), ([], frozenset()))
        self.reactor.taken.clear()
        self.reactor.advance(RETRY_SECONDS)
        self.assertEqual(self.open, ["::"])
        self.assertEqual(self.journal.names().count("listener.failed"), 1)
        self.assertEqual(self.journal.names()[-1], "listener.opened")
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_end_while_a_port_is_taken(self) -> None:
        """A port that nobody wants any more is not tried again."""
        self.reactor.taken.add(6619)
        self.listeners.have((self.IPV6,), "the configuration")
        self.reactor.advance(0)
        self.listeners.have((), "the end")
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class Failures(SynchronousTestCase):
    """A port that cannot be opened is one event with its cause."""

    def test_causes(self) -> None:
        """Each error of the system has a stable cause, the system's words as message, and an advice."""
        for number, cause in (
            (errno.EADDRINUSE, "port.in_use"),
            (errno.EACCES, "port.not_allowed"),
            (errno.EADDRNOTAVAIL, "port.no_address"),
            (errno.EMFILE, "port.unusable"),
        ):
            reactor = FailingReactor()
            journal = Journal(reactor)
            reactor.error = OSError(number, os.strerror(number))
            Listeners(reactor, Factory, journal.events).have((Listener(address="192.0.2.1", port=6619),), "asked")
            event = journal.the("listener.failed")
            self.assertEqual((event["cause"], event["address"], event["port"]), (cause, "192.0.2.1", 6619))
            self.assertIn(os.strerror(number), str(event["message"]))
            self.assertTrue(event["advice"])

    def test_error_without_a_number(self) -> None:
        """An error that is none of the system's has a cause, too."""
        reactor = FailingReactor()
        journal = Journal(reactor)
        reactor.error = ValueError("no port")
        self.assertRaises(CannotListenError, listen_for_clients, reactor, Factory(), "", 1, journal.events)
        self.assertEqual(journal.the("listener.failed")["cause"], "port.unusable")


class WithoutIpv6(MemoryReactorClock):
    """A reactor of a system that has no IPv6, or cannot open its port.

    :param number: what the system says.
    """

    def __init__(self, number: int = errno.EAFNOSUPPORT) -> None:
        super().__init__()
        self._number = number

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Part of the interface."""
        if ":" in interface:
            raise CannotListenError(interface, port, OSError(self._number, os.strerror(self._number)))
        return super().listenTCP(port, factory, backlog, interface)


class EveryAddress(SynchronousTestCase):
    """A port alone is one at all addresses."""

    def opened(self, reactor: MemoryReactorClock, host: str) -> list[str]:
        """The addresses at which a port is opened."""
        listen_for_clients(reactor, Factory(), host, 2878, Journal(reactor).events)
        return [interface for _, _, _, interface in reactor.tcpServers]

    def test_both_families(self) -> None:
        """Where no address is named, IPv6 and IPv4 are served; IPv4 alone where the system has no IPv6."""
        self.assertEqual(self.opened(MemoryReactorClock(), ""), ["::"])
        self.assertEqual(self.opened(WithoutIpv6(), ""), ["0.0.0.0"])

    def test_port_that_is_taken_for_ipv6(self) -> None:
        """A port that another program has for IPv6 is told: callers by IPv6 would reach that program."""
        for number in (errno.EADDRINUSE, errno.EACCES, errno.EMFILE):
            reactor = WithoutIpv6(number)
            fault = self.assertRaises(CannotListenError, self.opened, reactor, "")
            self.assertEqual((fault.interface, reactor.tcpServers), ("::", []))

    def test_one_address(self) -> None:
        """Where one is named, that is served and no other."""
        for host in ("192.0.2.1", "2001:db8::1", "0.0.0.0", "::"):
            self.assertEqual(self.opened(MemoryReactorClock(), host), [host])

    def test_system_that_separates_them(self) -> None:
        """``::`` takes IPv4 also where the system's default is that it does not (net.ipv6.bindv6only)."""

        def made(port: Port) -> socket.socket:
            separate = socket.socket(socket.AF_INET6)
            separate.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            return separate

        self.patch(Port, "createInternetSocket", made)
        with StreamPort(0, Factory(), interface="::", reactor=MemoryReactorClock()).createInternetSocket() as both:
            self.assertEqual(both.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY), 0)


class Accepting(SynchronousTestCase):
    """A flood of connections does not take the reactor for itself."""

    def test_queue(self) -> None:
        """The kernel may hold thousands of connections until they are accepted: one too many waits for a second."""
        reactor = MemoryReactorClock()
        listen_for_clients(reactor, Factory(), "127.0.0.1", 2878, Journal(reactor).events)
        (opened,) = reactor.tcpServers
        self.assertEqual(opened[2:], (4096, "127.0.0.1"))

    def test_so_many_in_one_turn(self) -> None:
        """A port never accepts more in one turn than the bound, where Twisted would accept ever more."""
        port = StreamPort(0, Factory(), reactor=MemoryReactorClock())
        port.socket = port.createInternetSocket()
        self.addCleanup(port.socket.close)
        asked: list[int] = []
        self.patch(Port, "doRead", lambda port: asked.append(port.numberAccepts))
        port.numberAccepts = 1000
        port.doRead()
        self.assertEqual((asked, port.socket.resets), ([limits.ACCEPTS_MOST], limits.RESETS_MOST))
