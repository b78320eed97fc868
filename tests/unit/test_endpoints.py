"""Endpoints that are given up, and names that are not found in time: :mod:`smartproxy.net.transport.endpoints`."""

from typing import Any

from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.transport.endpoints import Lookup, connect
from tests.resolvers import slow_names


class Names(SynchronousTestCase):
    """A connection to a host by its name."""

    def setUp(self) -> None:
        """Dial; the resolver has not answered."""
        self.reactor = MemoryReactorClock()
        self.resolver = slow_names(self.reactor)
        self.lookup = Lookup(self.reactor)
        endpoint = HostnameEndpoint(self.lookup, "oftp.acme.example", 6619)
        self.connecting = connect(endpoint, Factory.forProtocol(Protocol))

    def test_given_up_while_the_name_is_looked_up(self) -> None:
        """Given up is given up, and no name that was not found."""
        self.assertFalse(self.lookup.over)
        self.connecting.cancel()
        self.failureResultOf(self.connecting, CancelledError)

    def test_given_up_while_it_dials(self) -> None:
        """The same while TCP is not there."""
        self.resolver.answer("192.0.2.1")
        self.reactor.advance(1)
        self.connecting.cancel()
        self.failureResultOf(self.connecting, CancelledError)

    def test_not_found(self) -> None:
        """What nobody gave up fails as the endpoint says."""
        self.resolver.answer()
        self.failureResultOf(self.connecting, DNSLookupError)

    def test_late(self) -> None:
        """A time that is over is one of the name until the resolver has answered."""
        error = self.assertRaises(DNSLookupError, self.lookup.late, "oftp.acme.example", 20)
        self.assertEqual(error.args[0], "the host name oftp.acme.example was not resolved within 20 s")
        self.resolver.answer("192.0.2.1")
        self.lookup.late("oftp.acme.example", 20)

    def test_connected(self) -> None:
        """The protocol comes as it is."""
        self.resolver.answer("192.0.2.1")
        self.reactor.advance(1)
        _, _, factory, _, _ = self.reactor.tcpClients[0]
        protocol: Any = factory.buildProtocol(None)
        protocol.makeConnection(StringTransport())
        self.assertIsInstance(self.successResultOf(self.connecting), Protocol)
