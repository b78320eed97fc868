"""The client's end by itself: dialling, waiting, telling trouble, and its pool of data connections."""

from itertools import pairwise
from typing import Any, cast
from unittest.mock import Mock

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError, DNSLookupError
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy import limits
from smartproxy.policy.faults import OwnFault
from smartproxy.tunnel.faults import OpeningFailed
from smartproxy.tunnel.places import placed
from smartproxy.tunnel.pool import DataPool
from smartproxy.tunnel.vocabulary import OpenInbound
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

    def test_stopped_while_it_dials(self) -> None:
        """A stop while TCP is not there yet ends the dial, without a word of trouble, and none follows."""
        self.check_stop(ConnectingCancelledError(IPv4Address("TCP", "192.0.2.1", 2878)))

    def test_stopped_while_the_name_is_looked_up(self) -> None:
        """The same while the resolver has not answered, though an endpoint then says that it did not find the name."""
        self.check_stop(DNSLookupError("Couldn't find the hostname"))

    def check_stop(self, answer: Exception) -> None:
        """Stop while it dials.

        :param answer: what the endpoint says when it is cancelled.
        """
        hanging = Hanging(answer)
        self.patch(self.client.endpoint, "connect", hanging.connect)
        self.network.advance(3)
        told = len(self.client.events.named("tunnel.failed"))
        self.assertEqual((hanging.begun, hanging.open), (1, 1))
        self.client.tunnel.stopService()
        self.network.advance(60)
        self.assertEqual((hanging.begun, hanging.open), (1, 0))
        self.assertEqual(len(self.client.events.named("tunnel.failed")), told)
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

    def test_no_connection_in_time(self) -> None:
        """A server that does not answer a dial is told in words, not by what Twisted calls it."""
        for connection in list(self.pool._all):
            connection.abort(WHY)
        self.network.settle()
        self.client.lane._endpoint = cast(Any, Hanging())
        attaching = Deferred.fromCoroutine(self.client.lane.attach(placed(None, bytes(32))))
        self.network.advance(limits.TICKET_SECONDS / 2 + 0.5)
        fault = self.failureResultOf(attaching, OwnFault).value
        self.assertEqual(fault.message, "the client could not make a data connection in time")

    def test_resized(self) -> None:
        """Another configuration is in force for connections that are there: more are kept ready, and more may be."""
        sessions = [self.open() for _ in range(6)]
        self.client.lane.resize(3, 10)
        self.network.settle()
        self.assertEqual((self.pool.idle, len(self.pool)), (3, 9))
        sessions.append(self.open())
        self.client.lane.resize(0, 10)
        for session in sessions:
            session.leg.finish()
        self.network.advance(limits.DATA_SURPLUS_SECONDS + 2 * limits.POOL_UPKEEP_SECONDS)
        self.assertEqual(len(self.pool), 0)

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


class Hanging:
    """An endpoint that dials until somebody cancels it.

    :param answer: what it says then.
    """

    def __init__(self, answer: Exception | None = None) -> None:
        self.answer = answer or ConnectingCancelledError(IPv4Address("TCP", "192.0.2.1", 2878))
        self.begun = 0
        self.open = 0

    def connect(self, factory: object) -> Deferred[Any]:
        """Dial."""
        self.begun += 1
        self.open += 1
        return Deferred(self._canceled)

    def _canceled(self, dialling: Deferred[Any]) -> None:
        self.open -= 1
        dialling.errback(self.answer)


class NamedWorkersTests(SynchronousTestCase):
    """The workers of a server, which may be hostile, and the connections that are made for them."""

    def setUp(self) -> None:
        """A tunnel that is up; data connections are dialled in vain from then on."""
        self.network = Network()
        self.server, self.client = pair(self.network, ready=2, most=100)
        self.lane = self.client.lane
        self.dials = Hanging()
        self.lane._endpoint = cast(Any, self.dials)

    def name(self, *workers: int) -> None:
        """The server names its workers."""
        self.server.control.tell_workers(workers)
        self.network.settle()

    def ask(self, worker: int) -> Deferred[Any]:
        """The server opens a session of a worker."""
        told = attrs.asdict(FACTS, recurse=False)
        ticket = placed(worker, bytes(32))
        asked = self.server.control.ask(OpenInbound, session=f"{worker:016x}", ticket=ticket, deadline=1, **told)
        self.network.settle()
        return asked

    def test_dials_end_with_their_workers(self) -> None:
        """A server that names other workers again and again has no more dials under way than those of the newest."""
        for first in range(0, 3_200, 32):
            self.name(*range(first, first + 32))
        self.assertEqual((self.dials.open, len(self.lane)), (32, 32))
        self.assertLessEqual(self.dials.begun, limits.WORKERS_MOST)
        self.name(*range(5_000, 5_000 + limits.WORKERS_MOST))
        self.network.advance(limits.WORKERS_MOST / limits.WORKERS_NAMED_RATE)
        self.assertEqual((self.dials.open, len(self.lane)), (100, 100))
        self.client.control.abort(WHY)
        self.assertEqual((self.dials.open, len(self.lane)), (0, 0))

    def test_newest_word_counts(self) -> None:
        """Workers that are named faster than a server has new ones are known by turns, and at last as they are."""
        self.name(*range(limits.WORKERS_MOST))
        for worker in (2_001, 2_002, 2_003):
            self.name(worker)
        self.assertEqual(len(self.lane._pools), limits.WORKERS_MOST)
        self.network.advance(limits.WORKERS_NAMED_SECONDS)
        self.assertEqual(list(self.lane._pools), [2_003])

    def test_nothing_is_named_after_the_end(self) -> None:
        """What waited for its turn when the tunnel went down is not done."""
        self.name(*range(limits.WORKERS_MOST))
        self.name(2_001)
        self.client.tunnel.stopService()
        self.network.advance(1)
        self.assertEqual(self.lane._pools, {})
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_workers_that_do_not_exist(self) -> None:
        """Of workers that the server never named, nothing is left when their sessions are not opened."""
        self.name(1)
        timers = len(self.network.clock.getDelayedCalls())
        asked = [self.ask(worker) for worker in range(1_000, 1_050)]
        self.network.advance(30)
        for each in asked:
            self.failureResultOf(each, OpeningFailed)
        self.assertEqual(list(self.lane._pools), [1])
        self.assertEqual(len(self.network.clock.getDelayedCalls()), timers)

    def test_last_connection_to_a_worker_without_a_name(self) -> None:
        """With the last connection to a worker that the server does not name, its pool goes; others stay."""
        assert self.lane._bound is not None
        strangers = self.lane._bound.strangers
        strangers |= {9, None}
        for worker, left in ((9, False), (None, True)):
            pool = self.lane._kept_ready(worker, 0)
            connection = Mock()
            pool._all.add(connection)
            pool.data_gone(connection)
            self.assertEqual((worker in self.lane._pools, worker in strangers), (left, left))

    def test_session_before_its_worker_is_named(self) -> None:
        """A worker whose first session came before its name has connections kept ready from its name on."""
        asked = self.ask(7)
        self.assertEqual(self.dials.open, 1)
        self.name(7, 8)
        self.assertEqual(self.dials.open, 3)
        self.assertNoResult(asked)
        self.name(8)
        self.network.settle()
        self.assertIn("tunnel is down", str(self.failureResultOf(asked, OpeningFailed).value))
        self.assertEqual(self.dials.open, 1)
        self.server.control.abort(WHY)
        self.network.settle()
