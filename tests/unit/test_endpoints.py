"""Endpoints that are given up, and names that are not found in time: :mod:`smartproxy.net.transport.endpoints`."""

from typing import Any
from unittest.mock import Mock

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides, directlyProvides

from smartproxy.net.transport.endpoints import FamilyMissing, Lookup, SourcedEndpoint, connect
from smartproxy.net.transport.error_words import connection_words
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


class Sources(SynchronousTestCase):
    """Hosts that are called from an address of this machine."""

    def test_family(self) -> None:
        """Only addresses of the source's family are asked for, and the call comes from there."""
        for source, family in (("192.0.2.7", IPv4Address), ("2001:db8::7", IPv6Address)):
            reactor: Any = MemoryReactorClock()
            resolver = Mock()
            resolver.resolveHostName = Mock(side_effect=resolver.resolveHostName)
            directlyProvides(resolver, IHostnameResolver)
            vars(reactor)["nameResolver"] = resolver
            alsoProvides(reactor, IReactorPluggableNameResolver)
            connecting = SourcedEndpoint(reactor, "dmz.example", 2878, source=source).connect(Factory())
            receiver, host, _, wanted, _ = resolver.resolveHostName.call_args.args
            self.assertEqual((host, wanted), ("dmz.example", (family,)))
            receiver.resolutionBegan(Mock())
            receiver.resolutionComplete()
            fault = self.failureResultOf(connecting, FamilyMissing)
            self.assertIn("has no address of the family", connection_words(fault.value))
