"""How data connections of the real daemons prove themselves, as somebody sees it who sits between them."""

from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.protocols.portforward import ProxyClient, ProxyClientFactory, ProxyFactory, ProxyServer

from smartproxy.tunnel.places import PREAMBLE_OCTETS, preamble
from tests.process.sites import Log, SiteCase, reactor

PRE_SHARED_KEY = 41
"""RFC 8446 section 4.2: in a ServerHello it says that the server knows the key."""
HEADER_OCTETS = 5
"""Of a record."""


def extensions(hello: bytes) -> set[int]:
    """The extensions of a record with a ClientHello or a ServerHello (RFC 8446 section 4.1)."""
    at = HEADER_OCTETS + 38
    at += 1 + hello[at]
    if hello[HEADER_OCTETS] == 1:
        at += 2 + int.from_bytes(hello[at : at + 2])
        at += 1 + hello[at]
    else:
        at += 3
    end, found = at + 2 + int.from_bytes(hello[at : at + 2]), set()
    at += 2
    while at < end:
        found.add(int.from_bytes(hello[at : at + 2]))
        at += 4 + int.from_bytes(hello[at + 2 : at + 4])
    return found


class _Server(ProxyClient):
    """The server's side of a connection."""

    def dataReceived(self, data: bytes) -> None:
        """Note what the server says first, and pass everything on."""
        peer: Any = self.peer
        peer.heard += data[: 1024 - len(peer.heard)]
        super().dataReceived(data)


class _ServerFactory(ProxyClientFactory):
    """Makes them."""

    protocol = _Server
    noisy = False


class Tapped(ProxyServer):
    """A connection of the tunnel, through somebody between the two daemons.

    :ivar heard: what the server said first.
    """

    clientProtocolFactory = _ServerFactory
    factory: "Between"

    def __init__(self) -> None:
        self.heard = b""
        self._said = b""
        self._passes = False

    def connectionMade(self) -> None:
        """Be one of those there are."""
        self.factory.connections.append(self)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Pass on what the client says, as soon as its ClientHello is whole."""
        if self._passes:
            super().dataReceived(data)
            return
        self._said += data
        hello = self.hello
        if len(hello) < HEADER_OCTETS or len(hello) < HEADER_OCTETS + int.from_bytes(hello[3:5]):
            return
        self._passes = True
        proof = bytes([self._said[-1] ^ 1]) if self.factory.spoils and self.offers else self._said[-1:]
        super().dataReceived(self._said[:-1] + proof)

    @property
    def for_worker(self) -> bool:
        """Whether it names a worker of the server."""
        return self._said.startswith(preamble(0)[:4])

    @property
    def hello(self) -> bytes:
        """What the client said first in TLS."""
        return self._said[PREAMBLE_OCTETS:] if self.for_worker else self._said

    @property
    def offers(self) -> bool:
        """Whether the client wants to prove itself by a key; the proof is at the end of what it says."""
        return PRE_SHARED_KEY in extensions(self.hello)

    @property
    def proved(self) -> bool:
        """Whether the server takes that."""
        return PRE_SHARED_KEY in extensions(self.heard)


class Between(ProxyFactory):
    """Whoever is between the two daemons.

    :param spoils: whether proofs by a key do not arrive as they are sent.
    """

    protocol = Tapped
    noisy = False

    def __init__(self, port: int, *, spoils: bool) -> None:
        super().__init__("127.0.0.1", port)
        self.spoils = spoils
        self.connections: list[Tapped] = []

    @property
    def of_workers(self) -> list[Tapped]:
        """The data connections whose two ends are workers, and whose handshakes have begun."""
        return [each for each in self.connections if each.for_worker and each.heard]


class Bonds(SiteCase):
    """A site as an operator has it, who says nothing about processes."""

    async def between(self, *, spoils: bool = False) -> Between:
        """Have the client dial the server through somebody."""
        site, log = self.site, Log(self.site.server)
        assert site.client is not None
        await site.client.stop()
        factory = Between(site.tunnel_port, spoils=spoils)
        listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(lambda: Deferred.fromCoroutine(self._apart(factory, listening)))
        own, site.tunnel_port = site.tunnel_port, listening.getHost().port
        await site.start_client(*self.client_switches)
        site.tunnel_port = own
        await site.listening(log)
        return factory

    async def _apart(self, factory: Between, listening: Any) -> None:
        assert self.site.client is not None
        await self.site.client.stop()
        await maybeDeferred(listening.stopListening)
        for each in factory.connections:
            ends: tuple[Any, ...] = (each, each.peer)
            for end in ends:
                if end is not None and end.transport is not None:
                    end.transport.abortConnection()

    async def carried(self) -> None:
        """Sessions with a file, two at a time."""
        sessions = [await self.session(self.acme) for _ in range(2)]
        for each in sessions:
            await each.file()
            await each.end()

    async def test_no_certificates(self) -> None:
        """Every data connection between workers is proved by the control connection's keys, and carries sessions."""
        between, log = await self.between(), Log(self.site.server)
        await self.carried()
        found = between.of_workers
        self.assertTrue(found)
        self.assertEqual({True}, {each.proved for each in found})
        self.assertEqual([], log.events("tunnel.refused"))

    async def test_certificates_instead(self) -> None:
        """Where these proofs do not arrive, both ends show certificates, and sessions are carried as ever."""
        between = await self.between(spoils=True)
        await self.carried()
        shown = [each for each in between.of_workers if not each.offers]
        self.assertTrue(shown)
        self.assertEqual({False}, {each.proved for each in shown})


class BondsOneEach(Bonds):
    """A site whose sessions have processes of their own."""

    server_switches: ClassVar[Sequence[str]] = ("--drain", "2", "--process-per-session")
    client_switches: ClassVar[Sequence[str]] = ("--drain", "2", "--process-per-session")
