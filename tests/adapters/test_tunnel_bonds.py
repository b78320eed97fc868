"""Data connections that prove by the bond of their control connection between whom they are."""

import ctypes
from datetime import UTC, datetime, timedelta
from typing import Any

from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.tls import openssl
from smartproxy.net.tls.openssl import SECRET_OCTETS, proved_by_secret
from smartproxy.policy.causes import Cause
from smartproxy.testing.pki import CLIENT_AUTH
from smartproxy.tunnel.bond import Bond
from smartproxy.tunnel.contexts import ClientContext, PeerRefused, ServerContext
from smartproxy.tunnel.credential import ClientCredential
from smartproxy.tunnel.vocabulary import CONTROL_PROTOCOL, DATA_PROTOCOL
from tests.adapters.test_transport_tls import MallInfo
from tests.adapters.tunnel_kit import (
    FACTS,
    SESSION,
    UNIT,
    WHY,
    ClientSide,
    Network,
    Receiver,
    ServerSide,
    authority,
    credential,
    identity,
    inner,
    pair,
)

PINS = [identity().proxy_id]


class Bonds(SynchronousTestCase):
    """What a bond is good for."""

    def setUp(self) -> None:
        """A server and a client, whose certificates are counted when they are judged."""
        self.judged: list[type] = []
        for context in (ServerContext, ClientContext):
            judge = context._judge

            def count(self_: Any, *question: Any, judge: Any = judge, kind: type = context) -> bool:
                self.judged.append(kind)
                verdict: bool = judge(self_, *question)
                return verdict

            self.patch(context, "_judge", count)
        self.network = Network()
        self.server, self.client = pair(self.network, ready=1)

    def handles(self) -> list[SSL.Connection]:
        """OpenSSL's side of the client's data connections."""
        transports: list[Any] = [each.transport for each in self.client.pool._all]
        return [transport.getHandle() for transport in transports]

    def connect(self, context: ClientContext) -> SSL.Connection:
        """Connect to the server; OpenSSL's side of it at the client's end."""
        protocol = Protocol()
        factory = TLSMemoryBIOFactory(context, True, Factory.forProtocol(lambda: protocol), self.network.clock)
        self.network.connect(self.server.tunnel.factory, factory)
        assert protocol.transport is not None
        handle: SSL.Connection = protocol.transport.getHandle()  # type: ignore[attr-defined]  # TLS has it
        self.network.settle()
        return handle

    def bond(self) -> Bond:
        """The bond of the tunnel that is up."""
        assert self.client.control.bond is not None
        self.assertEqual(self.client.control.bond, self.server.control.bond)
        return self.client.control.bond

    def carries_a_session(self) -> None:
        """A session goes through the tunnel both ways."""
        opening = self.server.control.open_inbound(SESSION, FACTS)
        self.network.settle()
        leg = self.successResultOf(opening)
        partner, station = Receiver(leg), Receiver(self.client.user.legs[-1])
        leg.send(UNIT)
        self.client.user.legs[-1].send(UNIT * 2)
        self.network.settle()
        self.assertEqual((UNIT * 2, UNIT), (partner.got, station.got))

    def test_without_certificates(self) -> None:
        """Certificates are judged for the control connection alone; a session goes through a data connection."""
        once = len(self.judged)
        self.assertTrue(once)
        self.assertEqual([True], [proved_by_secret(handle) for handle in self.handles()])
        self.assertEqual([None], [handle.get_peer_certificate() for handle in self.handles()])
        self.carries_a_session()
        self.assertEqual(once, len(self.judged))
        self.assertEqual({ServerContext, ClientContext}, set(self.judged))

    def test_own_keys(self) -> None:
        """Each data connection has keys of its own, made of a key exchange, too: a bond that is lost opens none."""
        self.client.pool._ready = 2
        self.client.pool._top_up()
        self.network.settle()
        first, second = (handle.export_keying_material(b"EXPORTER-test", 32) for handle in self.handles())
        self.assertNotEqual(first, second)
        self.assertEqual({"x25519"}, {str(handle.get_group_name()).lower() for handle in self.handles()})

    def test_ends_with_its_control_connection(self) -> None:
        """When the control connection has ended, nobody gets in by its bond any more."""
        bond = self.bond()
        self.client.control.close(WHY)
        self.network.settle()
        self.assertEqual({}, self.server.tunnel.context._bonds)
        handle = self.connect(ClientContext(inner(), PINS, DATA_PROTOCOL, bonds=True).by(bond))
        self.assertFalse(proved_by_secret(handle))

    def test_ended_within_a_handshake(self) -> None:
        """A bond that ends before the handshake of a data connection is over proves nothing any more."""
        find = ServerContext._secret

        def find_last(context: ServerContext, connection: SSL.Connection, name: bytes) -> bytes | None:
            secret = find(context, connection, name)
            context._bonds.clear()
            return secret

        self.patch(ServerContext, "_secret", find_last)
        self.network = Network()
        self.server, self.client = pair(self.network, ready=0)
        self.assertTrue(
            proved_by_secret(self.connect(ClientContext(inner(), PINS, DATA_PROTOCOL, bonds=True).by(self.bond())))
        )
        self.assertEqual([Cause.TUNNEL_UNPROVED.value], self.server.events.causes("tunnel.refused"))

    def test_for_no_control_connection(self) -> None:
        """A control connection has to show a certificate."""
        handle = self.connect(ClientContext(inner("inner-2"), PINS, CONTROL_PROTOCOL, bonds=True).by(self.bond()))
        self.assertTrue(proved_by_secret(handle))
        self.assertEqual([Cause.TUNNEL_UNPROVED.value], self.server.events.causes("tunnel.refused"))

    def test_name_alone(self) -> None:
        """Somebody who saw the name of a bond on the way, and does not know its secret, is refused in TLS."""
        guessed = Bond(self.bond().name, bytes(SECRET_OCTETS), identity().proxy_id)
        self.connect(ClientContext(inner(), PINS, DATA_PROTOCOL, bonds=True).by(guessed))
        self.assertEqual([Cause.TUNNEL_TLS.value], self.server.events.causes("tunnel.refused"))

    def test_other_server(self) -> None:
        """A server that does not know the bond is no server for it, even with the right key."""
        other = ServerSide(self.network)
        context = ClientContext(inner(), PINS, DATA_PROTOCOL, bonds=True).by(self.bond())
        self.server = other
        handle = self.connect(context)
        refusal = self.assertRaises(PeerRefused, context.verified, handle)
        self.assertEqual(Cause.TUNNEL_UNPROVED, refusal.cause)

    def test_unknown_bond(self) -> None:
        """To a server that knows no bond, as one of another version, certificates are shown; sessions get through."""
        self.patch(ServerContext, "bind", lambda *given: None)
        self.network = Network()
        self.server, self.client = pair(self.network, ready=1)
        self.assertEqual([False], [proved_by_secret(handle) for handle in self.handles()])
        self.carries_a_session()
        self.assertEqual([], self.server.events.causes("tunnel.refused"))

    def test_newer_certificate(self) -> None:
        """The server is told of a certificate that was renewed; until it knows it, data connections show it.

        One that is the same as before, as with each new generation of the configuration, changes nothing.
        """
        self.client.tunnel.renew(inner(), PINS)
        self.client.pool._ready = 2
        self.client.pool._top_up()
        self.network.settle()
        self.assertEqual([True, True], list(map(proved_by_secret, self.handles())))
        self.client.tunnel.renew(credential(authority().issue("inner-1", purposes=[CLIENT_AUTH])), PINS)
        self.client.pool._ready = 3
        self.client.pool._top_up()
        self.network.settle()
        self.assertEqual([False, True, True], sorted(map(proved_by_secret, self.handles())))
        self.client.pool._ready = 4
        self.client.pool._top_up()
        self.network.settle()
        self.assertEqual([False, True, True, True], sorted(map(proved_by_secret, self.handles())))

    def test_older_certificate_withdrawn(self) -> None:
        """A client that came with an older certificate has data connections by what the newer one is worth.

        That the older one is withdrawn makes no difference then, also where both end at the same time.
        """
        present = datetime.now(UTC).replace(microsecond=0)

        def shown(days_ago: int, until: datetime) -> ClientCredential:
            begins = present - timedelta(days=days_ago)
            return credential(
                authority().issue("inner-1", purposes=[CLIENT_AUTH], valid_from=begins, valid_until=until)
            )

        for days in (4, 5):
            self.network = Network()
            self.server = ServerSide(self.network)
            older = shown(5, present + timedelta(days=4))
            self.client = ClientSide(self.network, self.server.tunnel.factory, older, ready=1)
            self.client.tunnel.startService()
            self.network.settle()
            self.client.tunnel.renew(shown(0, present + timedelta(days=days)), PINS)
            self.network.settle()
            self.server.tunnel._withdrawn = lambda client: client.not_before < present
            self.server.tunnel.shut_out()
            self.client.pool._ready = 2
            self.client.pool._top_up()
            self.network.settle()
            self.assertEqual([True, True], list(map(proved_by_secret, self.handles())))
            self.assertEqual((2, []), (self.client.pool.idle, self.server.events.named("tunnel.refused")))

    def test_other_servers(self) -> None:
        """A server whose Proxy ID counts no more is not gone on with by its bond."""
        self.client.tunnel.renew(inner(), ["0" * 64 + "px"])
        self.network.settle()
        self.assertIsNone(self.client.lane._bound)

    def test_without_private_names(self) -> None:
        """Where pyOpenSSL lacks a name for it, certificates are shown."""
        self.patch(openssl, "_NEEDED_FOR_SECRETS", ("SSL_of_tomorrow",))
        self.network = Network()
        self.server, self.client = pair(self.network)
        self.assertIsNone(self.client.control.bond)
        self.carries_a_session()

    def test_secrets_are_not_shown(self) -> None:
        """A bond's secret is in no text that is made of it."""
        self.assertNotIn(repr(self.bond().secret), repr(self.bond()))

    def test_what_it_is_worth(self) -> None:
        """A data connection holds at most 24 KiB of the C library at each end; with certificates it is 34 or more."""
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = MallInfo
        client = ClientSide(self.network, self.server.tunnel.factory, inner("inner-2"), ready=1)
        client.tunnel.startService()
        self.network.settle()
        before = library.mallinfo2().uordblks
        client.pool._ready = 21
        client.pool._top_up()
        self.network.settle()
        self.assertEqual(21, client.pool.idle)
        self.assertLess((library.mallinfo2().uordblks - before) / 20, 2 * 24 * 1024)
