"""The client's end by itself: dialling, waiting, telling trouble, and its pool of data connections."""

from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.tunnel.pool import DataPool
from tests.adapters.tunnel_kit import (
    FACTS,
    SESSION,
    WHY,
    ClientSide,
    Network,
    Receiver,
    ServerSide,
    identity,
    inner,
    pair,
)


class DiallingTests(SynchronousTestCase):
    """A client dials until it is stopped."""

    def setUp(self) -> None:
        """A client that has no server to dial."""
        self.network = Network()
        self.client = ClientSide(self.network, None)
        self.client.tunnel.startService()

    def test_waits_longer_each_time(self) -> None:
        """From one second to thirty, and no longer."""
        self.network.advance(200)
        times = self.client.endpoint.dialled
        waits = [round(later - earlier) for earlier, later in pairwise(times)]
        self.assertEqual(waits[:6], [1, 2, 4, 8, 16, 30])
        self.assertEqual(set(waits[6:]), {30})

    def test_jitter(self) -> None:
        """The wait is between half of it and all of it, as chance has it."""
        network = Network()
        client = ClientSide(network, None)
        client.tunnel._jitter = lambda: 0.0
        client.tunnel.startService()
        network.advance(2)
        self.assertEqual(client.endpoint.dialled, [0.0, 0.5, 1.5])

    def test_trouble_is_told_once(self) -> None:
        """The same trouble is one event, and again one after ten minutes; other trouble is told at once."""
        self.network.advance(120)
        self.assertEqual(len(self.client.events.named("tunnel.failed")), 1)
        self.network.advance(limits.TROUBLE_AGAIN_SECONDS)
        self.assertEqual(len(self.client.events.named("tunnel.failed")), 2)
        server = ServerSide(self.network)
        self.client.tunnel.renew(inner(), ["0" * 64 + "px"])
        self.client.endpoint.factory = server.tunnel.factory
        self.network.advance(31)
        self.assertEqual(self.client.events.causes("tunnel.refused"), ["tunnel.wrong_server_key"])

    def test_server_that_appears(self) -> None:
        """As soon as the server is there, so is the tunnel; the next loss is dialled after a second again."""
        self.network.advance(100)
        server = ServerSide(self.network)
        self.client.endpoint.factory = server.tunnel.factory
        self.network.advance(31)
        self.assertIsNotNone(self.client.tunnel.control)
        self.client.control.abort(WHY)
        before = len(self.client.endpoint.dialled)
        self.network.advance(1.5)
        self.assertIsNotNone(self.client.tunnel.control)
        self.assertGreater(len(self.client.endpoint.dialled), before)

    def test_stopped(self) -> None:
        """A client that is stopped dials no more and leaves no timer."""
        self.client.tunnel.stopService()
        dialled = len(self.client.endpoint.dialled)
        self.network.advance(60)
        self.assertEqual(len(self.client.endpoint.dialled), dialled)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_stopped_in_the_handshake(self) -> None:
        """A stop in the middle of a handshake ends the connection."""
        server = ServerSide(self.network)
        self.client.endpoint.factory = server.tunnel.factory
        self.network.clock.advance(1)
        self.client.tunnel.stopService()
        self.network.advance(limits.CLOSING.default)
        self.assertIsNone(self.client.tunnel.control)
        self.assertEqual(server.tunnel._controls, set())
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_renewed_credential(self) -> None:
        """A credential that was renewed is shown from the next connection on."""
        server = ServerSide(self.network)
        self.client.endpoint.factory = server.tunnel.factory
        self.client.tunnel.renew(inner("renamed"), [identity().proxy_id])
        self.network.advance(5)
        self.assertEqual(server.control.client_name, "renamed")

    def test_bug_in_the_daemon(self) -> None:
        """A daemon that fails when it is told of the tunnel is reported; the tunnel stays up."""

        def bug(control: object) -> None:
            raise ZeroDivisionError

        server = ServerSide(self.network)
        self.patch(server.user, "tunnel_up", bug)
        self.patch(self.client.user, "tunnel_up", bug)
        self.client.endpoint.factory = server.tunnel.factory
        self.network.advance(5)
        self.assertIsNotNone(self.client.tunnel.control)
        self.assertEqual(len(self.client.events.named("internal.error")), 1)
        self.assertEqual(len(server.events.named("internal.error")), 1)


class PoolTests(SynchronousTestCase):
    """Data connections are made ahead, used again, and let go."""

    def setUp(self) -> None:
        """A tunnel that is up, with two ready connections."""
        self.network = Network()
        self.server, self.client = pair(self.network, ready=2, most=6)
        self.opened = 0

    @property
    def pool(self) -> DataPool:
        """The client's pool."""
        return self.client.pool

    def open(self) -> Receiver:
        """Open a session."""
        self.opened += 1
        opening = self.server.control.open_inbound(f"{self.opened:016x}", FACTS)
        self.network.settle()
        Receiver(self.client.user.legs[-1])
        return Receiver(self.successResultOf(opening))

    def test_ready_before_they_are_needed(self) -> None:
        """Connections are there before the first session, which takes one without a handshake; another follows."""
        self.assertEqual((self.pool.idle, len(self.pool)), (2, 2))
        self.open()
        self.assertEqual((self.pool.idle, len(self.pool)), (2, 3))

    def test_surplus_is_let_go(self) -> None:
        """After a rush, what nobody used for a while is closed, down to the ready ones; a running session stays."""
        sessions = [self.open() for _ in range(6)]
        for session in sessions[1:]:
            session.leg.finish()
        self.network.settle()
        self.assertEqual((self.pool.idle, len(self.pool)), (5, 6))
        self.network.advance(limits.DATA_SURPLUS_SECONDS / 2)
        self.assertEqual(self.pool.idle, 5)
        self.network.advance(limits.DATA_SURPLUS_SECONDS + limits.POOL_UPKEEP_SECONDS)
        self.assertEqual((self.pool.idle, len(self.pool)), (2, 3))
        self.assertEqual(sessions[0].said, [])
        self.assertEqual(self.server.control.desk.idle, 2)

    def test_unused_are_replaced(self) -> None:
        """Ready connections that nobody used for minutes are made anew."""
        before = set(self.pool._all)
        self.network.advance(limits.DATA_REFRESH_SECONDS + limits.POOL_UPKEEP_SECONDS + 1)
        self.assertEqual(self.pool.idle, 2)
        self.assertEqual(before & self.pool._all, set())

    def test_lost_are_replaced(self) -> None:
        """Ready connections that are lost are made again, and a session meanwhile takes none that is dead."""
        for connection in list(self.pool._all):
            connection.abort(WHY)
        self.network.settle()
        self.assertEqual(self.pool.idle, 0)
        self.open()
        self.network.advance(limits.POOL_UPKEEP_SECONDS)
        self.assertEqual(self.pool.idle, 2)

    def test_server_that_takes_no_data_connections(self) -> None:
        """When no data connection can be made, the opening fails with the cause, and the tunnel stays."""
        for connection in list(self.pool._all):
            connection.abort(WHY)
        self.client.endpoint.factory = None
        self.network.settle()
        opening = self.server.control.open_inbound(SESSION, FACTS)
        self.network.settle()
        self.assertIn("no data connection", str(self.failureResultOf(opening).value))
        self.assertIsNone(self.client.control.lost)

    def test_data_connection_that_hangs(self) -> None:
        """A handshake that does not come about fails the opening while its ticket would still be good."""
        for connection in list(self.pool._all):
            connection.abort(WHY)
        self.network.settle()
        opening = self.server.control.open_inbound(SESSION, FACTS)
        self.network.links[0].flush()
        self.network.links[0].flush()
        for link in self.network.links[1:]:
            link.cut = True
        self.network.advance(limits.TICKET_SECONDS / 2 + 0.5)
        self.assertIn("in time", str(self.failureResultOf(opening).value))
        self.assertEqual(self.server.events.named("tunnel.violation"), [])

    def test_closed_with_the_tunnel(self) -> None:
        """With the tunnel all its connections go, those that were just being made as well."""
        pool = self.pool
        self.client.control.abort(WHY)
        self.network.settle()
        self.assertEqual((len(pool), pool.idle), (0, 0))

    def test_none_ready(self) -> None:
        """A pool may keep none ready; sessions then wait for a handshake each, unless one was handed back."""
        self.client.tunnel.stopService()
        self.network.advance(6)
        self.server, self.client = pair(self.network, ready=0)
        self.assertEqual(len(self.pool), 0)
        self.open().leg.finish()
        self.network.settle()
        self.assertEqual(len(self.pool), 1)
