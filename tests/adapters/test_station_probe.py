"""What the backend finds at the address of a station."""

from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, DNSLookupError, NoRouteError, TimeoutError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import station_probe
from smartproxy.backend.station_probe import SECONDS, Answer, look
from smartproxy.oftp2.stream import SSRM_BUFFER


class Looking(SynchronousTestCase):
    """A look at an address."""

    def begin(self, failure: Exception | None = None) -> tuple[Any, StringTransport, "Deferred[Answer]", Clock]:
        """Look; the protocol at our end, its transport, what will be found, and the clock."""
        clock, transport, made = Clock(), StringTransport(), []

        class Endpoint:
            """Connects at once, or not at all."""

            def __init__(self, reactor: object, host: str, port: int, timeout: int) -> None:
                made.append((host, port, timeout))

            def connect(self, factory: Any) -> "Deferred[Any]":
                """Connect."""
                if failure is not None:
                    return fail(failure)
                protocol = factory.buildProtocol(None)
                made.append(protocol)
                protocol.makeConnection(transport)
                return succeed(protocol)

        with patch.object(station_probe, "HostnameEndpoint", Endpoint):
            looking = Deferred.fromCoroutine(look(clock, "192.0.2.20", 3305))
        self.assertEqual(made[0], ("192.0.2.20", 3305, SECONDS))
        return made[-1], transport, looking, clock

    def test_station(self) -> None:
        """A station greets; in whatever pieces that comes, and whatever follows. Nothing is sent to it."""
        for size in (1, 7, len(SSRM_BUFFER)):
            protocol, transport, looking, clock = self.begin()
            for start in range(0, len(SSRM_BUFFER), size):
                self.assertNoResult(looking)
                protocol.dataReceived(SSRM_BUFFER[start : start + size])
            self.assertEqual(self.successResultOf(looking), Answer.SSRM)
            self.assertEqual((transport.value(), transport.disconnected), (b"", True))
            self.assertEqual(clock.getDelayedCalls(), [])

    def test_others(self) -> None:
        """What says something else, hangs up or says nothing is no station."""
        protocol, _, looking, _ = self.begin()
        protocol.dataReceived(SSRM_BUFFER[:4] + b"X" + b"y" * 100_000)
        self.assertEqual(self.successResultOf(looking), Answer.OTHER)
        protocol, _, looking, _ = self.begin()
        protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.successResultOf(looking), Answer.CLOSED)
        protocol, transport, looking, clock = self.begin()
        protocol.dataReceived(SSRM_BUFFER[:10])
        clock.advance(SECONDS)
        self.assertEqual(self.successResultOf(looking), Answer.SILENT)
        self.assertTrue(transport.disconnected)

    def test_unreachable(self) -> None:
        """Each way of not being there has a name of its own."""
        for error, expected in (
            (ConnectionRefusedError(), Answer.REFUSED),
            (DNSLookupError(), Answer.NAME),
            (UnicodeError(), Answer.NAME),
            (NoRouteError(), Answer.NO_ROUTE),
            (TimeoutError(), Answer.NO_ANSWER),
        ):
            _, _, looking, _ = self.begin(error)
            self.assertEqual(self.successResultOf(looking), expected)
