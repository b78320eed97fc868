"""Both daemons' sessions in one place, in memory and on one clock.

A partner over TLS, the server's side, a data connection, the client's side, a station over TCP.
"""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from smartproxy.client.desk import SessionDesk
from smartproxy.client.station import StationSessions
from smartproxy.net.leg import ILeg, Why
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.settings import Station
from smartproxy.relay.ending import Summary
from smartproxy.relay.openings import SessionFacts
from smartproxy.tunnel.data import DataConnection, DataLeg
from smartproxy.tunnel.faults import Closing, Violation
from smartproxy.tunnel.marks import TICKET_OCTETS
from smartproxy.tunnel.vocabulary import Side
from tests.adapters.rig import Caller, Journal, ServerRig
from tests.adapters.wires import End


class ClientRig:
    """The stations' side of a client.

    :ivar configuration: in force; replaced at will.
    """

    def __init__(self, reactor: MemoryReactorClock | None = None) -> None:
        self.reactor = reactor or MemoryReactorClock()
        self.journal = Journal(self.reactor)
        self.configuration = ClientConfiguration(station=Station(host="192.0.2.99", port=3305, timeout=10))
        self.finished: list[Summary] = []
        self.desk = SessionDesk(self.reactor, lambda: self.configuration)
        self.sessions = StationSessions(
            reactor=self.reactor,
            events=self.journal.events,
            configuration=lambda: self.configuration,
            tried=self.desk.station_tried,
            finished=self.finished.append,
        )

    def dialled(self) -> tuple[str, int, Any]:
        """Where the last connection was asked for, and the factory that waits for it."""
        host, port, factory, _, _ = self.reactor.tcpClients[-1]
        return host, port, factory

    def refuse(self) -> None:
        """The station refuses the connection."""
        self.dialled()[2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))


class Owner:
    """The owner of both ends of a data connection.

    :ivar legs: the server's, as soon as the client has attached.
    """

    def __init__(self) -> None:
        self.legs: list[DataLeg] = []

    def data_attached(self, connection: DataConnection, ticket: bytes) -> None:
        """A session begins."""
        self.legs.append(connection.begin())

    def data_idle(self, connection: DataConnection) -> None:
        """The session is over: the connection closes, since nobody needs another."""
        connection.close(Closing(Cause.TUNNEL_IDLE, "idle"))

    def data_gone(self, connection: DataConnection) -> None:
        """The connection is gone."""

    def data_violated(self, connection: DataConnection, violation: Violation) -> None:
        """Never happens."""
        raise AssertionError(violation)


class Chain(ServerRig):
    """A partner, both daemons, a station.

    :ivar station: the station's end of the last connection that was accepted; it says nothing by itself.
    """

    def __init__(self, **server: Any) -> None:
        self.reactor = MemoryReactorClock()
        super().__init__(clock=self.reactor, **server)
        self.client = ClientRig(self.reactor)
        self.stations: list[Caller] = []
        self.station_ends: list[End] = []
        self.data_ends: list[tuple[End, End]] = []

    @property
    def station(self) -> Caller:
        """The station's end of the last connection."""
        return self.stations[-1]

    def _open(self, session: str, facts: SessionFacts, why: Why) -> Deferred[ILeg]:
        owner = Owner()
        server = DataConnection(owner, Side.SERVER, self.clock, self.journal.events, "198.51.100.7")
        client = DataConnection(owner, Side.CLIENT, self.clock, self.client.journal.events, "tunnel")
        self.data_ends.append(self.network.connect(client, server, "198.51.100.7"))
        opening: Deferred[ILeg] = Deferred(lambda opening: owner.legs[0].finish(why()))
        ready = self.client.sessions.open(session, facts, client.attach(bytes(TICKET_OCTETS)))

        def failed(failure: Failure) -> None:
            if not opening.called:
                opening.errback(failure)

        ready.addCallbacks(lambda _: opening.callback(owner.legs[0]), failed)
        _, _, factory = self.client.dialled()
        protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.99", 3305))
        station = Caller()
        self.stations.append(station)
        self.station_ends.append(self.network.connect(protocol, station, "192.0.2.50")[1])
        return opening

    def say(self, end: Caller, octets: bytes) -> None:
        """One of the ends sends."""
        assert end.transport is not None
        end.transport.write(octets)
        self.network.settle()
