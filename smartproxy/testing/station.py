"""A station: listens, and is the Responder of every session.

It stands for the OFTP2 system inside a company. It counts the connections it accepted, so that a test can say that the
station saw nothing of an attack.
"""

import itertools
from collections.abc import Callable, Generator
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.internet.protocol import ServerFactory
from twisted.protocols.tls import TLSMemoryBIOFactory

from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Role
from smartproxy.testing.entity import Entity
from smartproxy.testing.events import Event
from smartproxy.testing.session import Closed, Opened, SessionProtocol
from smartproxy.testing.settings import Settings
from smartproxy.testing.tls import TestContext
from smartproxy.testing.user_monitor import UserMonitor

Ip = IPv4Address | IPv6Address

Observer = Callable[[int, Event | Opened | Closed], None]
"""Called with the number of a connection, from 1, and what happened: :class:`Opened` first, :class:`Closed` last."""


def ignore(_connection: int, _event: Event | Opened | Closed) -> None:
    """Observe nothing."""


class TestStation(ServerFactory):
    """A listening station.

    :param context: speak TLS with it; plain TCP without.
    :ivar accepted: how many connections were accepted so far.
    :ivar sessions: those that are open, by number.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        settings: Settings,
        monitor: UserMonitor,
        *,
        observe: Observer = ignore,
        context: TestContext | None = None,
    ) -> None:
        self.sessions: dict[int, SessionProtocol] = {}
        self._clock = clock
        self._settings = settings
        self._monitor = monitor
        self._observe = observe
        self._context = context
        self._numbers = itertools.count(1)
        self._port: IListeningPort | None = None
        self._ends: dict[int, Deferred[None]] = {}
        self.accepted = 0

    def listen(self, endpoint: IStreamServerEndpoint) -> Deferred[IAddress]:
        """Listen; fires with the address."""
        factory = self if self._context is None else TLSMemoryBIOFactory(self._context, False, self, self._clock)

        def listening(port: IListeningPort) -> IAddress:
            self._port = port
            address: IAddress = port.getHost()
            return address

        return endpoint.listen(factory).addCallback(listening)

    @inlineCallbacks
    def stop(self) -> Generator[Deferred[Any], Any, None]:
        """Stop listening, end all sessions with ESID 05; fires when all connections are gone."""
        if self._port is not None:
            yield maybeDeferred(self._port.stopListening)
        for session in list(self.sessions.values()):
            session.close(EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)
        yield DeferredList(list(self._ends.values()))

    def buildProtocol(self, addr: IAddress | None) -> SessionProtocol:
        """Accept a connection."""
        number = next(self._numbers)
        self.accepted = number

        def observe(event: Event) -> None:
            self._observe(number, event)

        def gone(end: Closed) -> None:
            del self.sessions[number]
            self._observe(number, end)
            self._ends.pop(number).callback(None)

        session = SessionProtocol(Entity(Role.RESPONDER, self._settings, self._monitor, observe), self._clock, gone)
        self.sessions[number] = session
        self._ends[number] = Deferred()
        self._observe(number, Opened(peer=f"{addr.host}:{addr.port}" if isinstance(addr, Ip) else str(addr)))
        return session
