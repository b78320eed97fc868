"""What the tests of the tunnel share: a network in memory with real TLS, credentials, and daemons that take notes."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import attrs
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from zope.interface import implementer

from smartproxy.logs import emit as logs
from smartproxy.logs.catalogue import EVENTS
from smartproxy.logs.severity import Severity
from smartproxy.net.leg import ILeg, ILegReceiver, LegEnd
from smartproxy.oftp2.roles import Level
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import GenerationId
from smartproxy.relay.events import SharedEnd
from smartproxy.relay.openings import CallWish, PartnerTls, SessionFacts, Way
from smartproxy.testing.pki import CLIENT_AUTH, TestCa, TestCredential
from smartproxy.tunnel.client import ClientTunnel
from smartproxy.tunnel.client_control import ClientControl
from smartproxy.tunnel.credential import ClientCredential
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.identity import Identity
from smartproxy.tunnel.kinds import SMART
from smartproxy.tunnel.lane import DataLane, Inbound
from smartproxy.tunnel.pool import DataPool
from smartproxy.tunnel.server import ServerTunnel
from smartproxy.tunnel.server_control import ServerControl

SESSION = "0123456789abcdef"
UNIT = b"\x10\x00\x00\x08abcd"
"""A Stream Transmission Buffer, as far as the tunnel looks at it."""
FACTS = SessionFacts(
    peer="192.0.2.7:40112", partner="ACME", tls=PartnerTls.TLS_1_3, code="O0013ACME", level=Level.OFTP_2_0
)
WISH = CallWish(way=Way.SOCKS, caller="10.0.0.9:51044")
WHY = Closing(Cause.TUNNEL_STOPPED, "test")


@cache
def authority() -> TestCa:
    """The site's authority."""
    return TestCa.root("Muster SmartProxy authority")


@cache
def identity() -> Identity:
    """The server's identity."""
    return Identity.of(ec.generate_private_key(ec.SECP256R1()))


def credential(of: TestCredential) -> ClientCredential:
    """As a client holds it."""
    return ClientCredential(certificate=of.chain_pem.decode("ascii"), key=of.key_pem.decode("ascii"))


@cache
def inner(name: str = "inner-1") -> ClientCredential:
    """A client's tunnel certificate as the backend issues them."""
    return credential(authority().issue(name, purposes=[CLIENT_AUTH]))


@implementer(ILogObserver)
class Events(logs.Events):
    """Takes events, and refuses those that the catalogue does not know in this form."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, object]]] = []
        super().__init__(Logger(observer=self), None, Clock())

    def emit(self, name: str, /, **fields: object) -> None:
        """Take an event as it was told."""
        EVENTS[name].check(fields)
        self.seen.append((name, fields))

    def __call__(self, entry: LogEvent) -> None:
        """Take what was written without being emitted: bugs."""
        record = entry[logs.RECORD_KEY]
        self.seen.append((record.name, dict(record.fields)))

    def named(self, name: str) -> list[dict[str, object]]:
        """The fields of the events of one name."""
        return [fields for seen, fields in self.seen if seen == name]

    def causes(self, name: str) -> list[object]:
        """Their causes, each of which is one of the list of causes."""
        return [Cause(str(fields.get("cause"))).value for fields in self.named(name)]


@attrs.define(eq=False)
class Link:
    """One connection of the network."""

    pump: IOPump
    client: FakeTransport
    server: FakeTransport
    cut: bool = False

    def flush(self) -> bool:
        """Move octets both ways; whether there were any."""
        return not self.cut and bool(self.pump.pump())


class Network:
    """Connections in memory under one clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.links: list[Link] = []
        self._ports = 40_000

    def connect(self, server: IProtocolFactory, client: IProtocolFactory, host: str = "10.0.0.7") -> IProtocol | None:
        """Connect two factories; the client's protocol, or nothing if either refused."""
        self._ports += 1
        here = IPv4Address("TCP", host, self._ports)
        there = IPv4Address("TCP", "192.0.2.1", 2878)
        accepting, calling = server.buildProtocol(here), client.buildProtocol(there)
        if accepting is None or calling is None:
            return None
        server_end = FakeTransport(accepting, True, there, here)
        client_end = FakeTransport(calling, False, here, there)
        pump = connect(accepting, server_end, calling, client_end, greet=False, clock=self.clock)
        self.links.append(Link(pump, client_end, server_end))
        return calling

    def settle(self) -> None:
        """Let everything arrive that is on its way."""
        for _ in range(2_000):
            self.clock.advance(0)
            if not sum(link.flush() for link in self.links):
                return
        raise AssertionError("the network does not come to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass in steps of a quarter of a second at most."""
        self.settle()
        while seconds > 0:
            step = min(0.25, seconds)
            self.clock.advance(step)
            self.settle()
            seconds -= step

    def cut(self) -> None:
        """From now on, nothing arrives on the connections that there are; nobody is told."""
        for link in self.links:
            link.cut = True


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Dials a factory in memory; refuses while there is none.

    :ivar dialled: when.
    """

    def __init__(self, network: Network, factory: IProtocolFactory | None) -> None:
        self.factory = factory
        self.dialled: list[float] = []
        self._network = network

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Part of the interface."""
        self.dialled.append(self._network.clock.seconds())
        result: Deferred[IProtocol] = Deferred()
        protocol = None if self.factory is None else self._network.connect(self.factory, protocolFactory)
        if protocol is None:
            result.errback(Failure(ConnectionRefusedError()))
        else:
            result.callback(protocol)
        return result


@implementer(ILegReceiver)
class Receiver:
    """Takes what a leg says; ends its own direction when the other end did."""

    def __init__(self, leg: ILeg, *, finishes: bool = True) -> None:
        self.got = b""
        self.said: list[str] = []
        self.ends: list[SharedEnd | None] = []
        self.finishes = finishes
        self.leg = leg
        leg.receiver = self

    def octets_received(self, leg: ILeg, octets: bytes) -> None:
        """Part of the interface."""
        self.got += octets

    def leg_ended(self, leg: ILeg, end: SharedEnd | None) -> None:
        """Part of the interface."""
        self.said.append("ended")
        self.ends.append(end)
        if self.finishes:
            leg.finish()

    def leg_lost(self, leg: ILeg, end: LegEnd) -> None:
        """Part of the interface."""
        self.said.append(f"lost: {end.message}")

    def leg_full(self, leg: ILeg) -> None:
        """Part of the interface."""
        self.said.append("full")

    def leg_drained(self, leg: ILeg) -> None:
        """Part of the interface."""
        self.said.append("drained")


class ServerUser:
    """A DMZ daemon that takes notes."""

    def __init__(self) -> None:
        self.notes: list[tuple[object, ...]] = []
        self.refuse: Callable[[], None] = lambda: None
        self.outbound: Deferred[Callable[[ILeg | None], None]] | None = None
        self.in_force = GenerationId()

    def tunnel_up(self, control: ServerControl) -> None:
        """Part of the interface."""
        self.notes.append(("up", control.client_name))

    def tunnel_down(self, control: ServerControl, why: Closing) -> None:
        """Part of the interface."""
        self.notes.append(("down", control.client_name, why))

    def configuration_arrived(self, control: ServerControl, generation: GenerationId, octets: bytes) -> None:
        """Part of the interface."""
        self.refuse()
        self.in_force = generation
        self.notes.append(("configuration", generation.number, octets))

    def close_session(self, control: ServerControl, session: str) -> None:
        """Part of the interface."""
        self.notes.append(("close", session))

    def set_level(self, control: ServerControl, level: Severity) -> None:
        """Part of the interface."""
        self.notes.append(("level", level))

    def drain(self, control: ServerControl) -> None:
        """Part of the interface."""
        self.notes.append(("drain",))

    def open_outbound(
        self, control: ServerControl, session: str, partner: str, wish: CallWish
    ) -> Deferred[Callable[[ILeg | None], None]]:
        """Part of the interface."""
        self.notes.append(("outbound", session, partner, wish))
        assert self.outbound is not None
        return self.outbound


class ClientUser:
    """An inner daemon that takes notes."""

    def __init__(self) -> None:
        self.notes: list[tuple[object, ...]] = []
        self.legs: list[ILeg] = []
        self.opening: Callable[[], Deferred[None]] = lambda: succeed(None)

    def tunnel_up(self, control: ClientControl) -> None:
        """Part of the interface."""
        self.notes.append(("up", control.version))

    def tunnel_down(self, why: Closing) -> None:
        """Part of the interface."""
        self.notes.append(("down", why))

    def open_inbound(self, control: ClientControl, inbound: Inbound) -> Deferred[None]:
        """Part of the interface: every session may begin."""
        assert isinstance(control.lane, DataLane), "it said Hello"
        return Deferred.fromCoroutine(control.lane.carry(inbound, self._open))

    def _open(self, session: str, facts: SessionFacts, leg: ILeg) -> Deferred[None]:
        self.notes.append(("inbound", session, facts))
        self.legs.append(leg)
        return self.opening()

    def event(self, control: ClientControl, fields: Mapping[str, Any]) -> None:
        """Part of the interface."""
        self.notes.append(("event", dict(fields)))

    def server_moved(self, control: ClientControl) -> None:
        """Part of the interface."""
        self.notes.append(("moved", control))

    def crl_url_seen(self, url: str, ca: str) -> None:
        """Part of the interface."""
        self.notes.append(("crl", url, ca))


class ServerSide:
    """A server on the network."""

    def __init__(self, network: Network, of: Identity | None = None, **options: Any) -> None:
        self.user = ServerUser()
        self.events = Events()
        self.tunnel = ServerTunnel(
            network.clock,
            identity=of or identity(),
            authority=authority().certificate_pem.decode("ascii"),
            user=self.user,
            events=self.events,
            **options,
        )

    @property
    def control(self) -> ServerControl:
        """The only client."""
        (control,) = self.tunnel.controls
        return control


class ClientSide:
    """A client on the network; its back-off has no jitter."""

    def __init__(
        self,
        network: Network,
        factory: IProtocolFactory | None,
        shows: ClientCredential | None = None,
        **options: Any,
    ) -> None:
        self.user = ClientUser()
        self.events = Events()
        self.endpoint = Endpoint(network, factory)
        self.shows = shows or inner()
        lane = {name: options.pop(name) for name in ("ready", "most") if name in options}
        kind = options.get("kind", SMART)
        self.lane = DataLane(network.clock, self.endpoint, self.events, kind=kind, **lane)
        self.tunnel = ClientTunnel(
            network.clock,
            self.endpoint,
            "dmz.example:2878",
            credential=self.shows,
            proxy_ids=[identity().proxy_id],
            user=self.user,
            events=self.events,
            lane=self.lane,
            jitter=lambda: 1.0,
            **options,
        )

    @property
    def pool(self) -> DataPool:
        """The data connections."""
        assert self.lane.pool is not None, "the tunnel is up"
        return self.lane.pool

    def open_outbound(self, session: str, partner: str, wish: CallWish, **options: float) -> Deferred[ILeg]:
        """Have the server call a partner, and attach the leg towards it."""
        return Deferred.fromCoroutine(self._open_outbound(session, partner, wish, **options))

    async def _open_outbound(self, session: str, partner: str, wish: CallWish, **options: float) -> ILeg:
        return await self.lane.attach(await self.control.call(session, partner, wish, **options))

    @property
    def control(self) -> ClientControl:
        """The control connection."""
        assert self.tunnel.control is not None, "the tunnel is up"
        return self.tunnel.control


def pair(network: Network, **options: Any) -> tuple[ServerSide, ClientSide]:
    """A server and a client, and the tunnel between them."""
    server = ServerSide(network)
    client = ClientSide(network, server.tunnel.factory, **options)
    client.tunnel.startService()
    network.settle()
    return server, client
