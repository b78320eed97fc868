"""What is called though nobody wants it: the station of a client, whose state is known so before a partner calls."""

from typing import Any
from unittest.mock import Mock

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.client.craft import ClientCraft
from smartproxy.client.words import Adopt, HearStation, StationHeard
from smartproxy.net.lookout import Lookout
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.schema import write_object
from smartproxy.policy.settings import Station
from tests.adapters import wires
from tests.adapters.rig import Caller, Journal
from tests.adapters.test_client_service import ClientTestCase, generation

HOST = "192.0.2.20"


class Calls(SynchronousTestCase):
    """When somebody is called."""

    def setUp(self) -> None:
        """Have somebody who fails, at once or when the test says so."""
        self.clock = Clock()
        self.journal = Journal(self.clock)
        self.times: list[float] = []
        self.ends: list[Deferred[None]] = []
        self.failing = False
        self.lookout = Lookout(self.clock, self.journal.events, call=self.call, failing=lambda: self.failing)

    async def call(self) -> None:
        """Note when, and wait for the end."""
        self.times.append(self.clock.seconds())
        self.ends.append(Deferred())
        await self.ends[-1]

    def fails(self) -> None:
        """A call failed: the last one of these, if it has not ended, or another."""
        self.failing = True
        self.lookout.failed()
        self.ends_well()

    def ends_well(self) -> None:
        """The last one ends."""
        if not self.ends[-1].called:
            self.ends[-1].callback(None)

    def test_until_it_answers(self) -> None:
        """At once, and in each minute after one that failed; never again when one did not, until one does."""
        self.lookout.begin(60)
        self.fails()
        self.clock.pump([30, 30])
        self.assertEqual(self.times, [0, 60])
        self.fails()
        self.clock.advance(60)
        self.failing = False
        self.ends_well()
        self.clock.pump([60] * 10)
        self.assertEqual(self.times, [0, 60, 120])
        self.fails()
        self.clock.advance(60)
        self.assertEqual(self.times, [0, 60, 120, 780])

    def test_others_call_it(self) -> None:
        """A minute is counted from the last call that failed, whoever made it; one that did not ends it."""
        self.lookout.begin(60)
        self.fails()
        self.clock.advance(50)
        self.fails()
        self.clock.advance(50)
        self.failing = False
        self.clock.pump([60] * 3)
        self.assertEqual(self.times, [0])

    def test_one_at_a_time(self) -> None:
        """A call that takes longer than the wait is not doubled, and one that says nothing of its end is repeated."""
        self.lookout.begin(60)
        self.failing = True
        self.clock.pump([60] * 3)
        self.assertEqual(self.times, [0])
        self.ends_well()
        self.clock.advance(60)
        self.assertEqual(self.times, [0, 240])

    def test_another_address(self) -> None:
        """The call of the address before is given up, and the new one is called at once."""
        self.lookout.begin(60)
        self.clock.advance(1)
        self.lookout.begin(30)
        self.assertEqual(self.times, [0, 1])
        self.assertTrue(self.ends[0].called)
        self.fails()
        self.clock.advance(30)
        self.assertEqual(self.times, [0, 1, 31])

    def test_never(self) -> None:
        """Without a number of seconds, before the beginning and after the end, nobody is called."""
        self.lookout.failed()
        self.lookout.begin(0)
        self.lookout.failed()
        self.assertEqual((self.times, self.clock.getDelayedCalls()), ([], []))
        self.lookout.begin(60)
        self.lookout.stop()
        self.lookout.failed()
        self.clock.pump([60] * 3)
        self.assertEqual((self.times, self.clock.getDelayedCalls(), self.journal.names()), ([0], [], []))

    def test_bug(self) -> None:
        """An error is told as one, and ends nothing else."""
        self.lookout.begin(60)
        self.failing = True
        self.ends[0].errback(ZeroDivisionError())
        self.assertEqual(self.journal.the("internal.error")["exception"], "ZeroDivisionError")
        self.clock.advance(60)
        self.assertEqual(self.times, [0, 60])


class StationTestCase(ClientTestCase):
    """A client whose station a test speaks for."""

    def setUp(self) -> None:
        """Have a station at an address."""
        super().setUp()
        self.backend.document = generation(1, station={"host": HOST})
        self.wires = wires.Network(self.clock)
        self.addCleanup(self.service._lookout.stop)

    @property
    def calls(self) -> list[str]:
        """Where stations were called."""
        return [call[0] for call in self.clock.tcpClients]

    def refuses(self) -> None:
        """The station refuses the connection."""
        factory: Any = self.clock.tcpClients[-1][2]
        factory.clientConnectionFailed(self.clock.connectors[-1], Failure(ConnectionRefusedError()))
        self.network.settle()

    def answers(self, octets: bytes = SSRM_BUFFER) -> Caller:
        """The station takes the connection, and says something."""
        station = Caller()
        near: Any = self.clock.tcpClients[-1][2].buildProtocol(IPv4Address("TCP", HOST, 3305))
        self.wires.connect(near, station, "192.168.7.2")
        transport: Any = station.transport
        transport.write(octets)
        self.wires.settle()
        return station

    @property
    def failure(self) -> str | None:
        """How the station failed, as the client knows it."""
        found = self.service.desk.station_failure
        return None if found is None else found.message


class StationOfAClient(StationTestCase):
    """The client calls it by itself, now and then."""

    def test_at_the_start(self) -> None:
        """It is called once up to its SSRM, is sent nothing, and no event tells it; it is left alone then."""
        self.start()
        self.assertEqual(self.calls, [HOST])
        station = self.answers()
        transport: Any = station.transport
        transport.loseConnection()
        self.wires.settle()
        self.network.advance(300)
        self.assertEqual((self.calls, self.failure, station.received), ([HOST], None, b""))
        self.assertEqual(self.stored("station.answered"), [])

    def test_until_it_answers(self) -> None:
        """While it fails, it is called in each minute; no event tells it, nor that it answers then."""
        self.start()
        self.refuses()
        self.assertIn("it refuses the connection", str(self.failure))
        self.network.advance(59)
        self.assertEqual(len(self.calls), 1)
        self.network.advance(1)
        self.answers(b"")
        self.network.advance(10)
        self.assertIn("did not send it within 10 s", str(self.failure))
        self.network.advance(60)
        self.assertEqual(len(self.calls), 3)
        self.answers()
        self.network.advance(300)
        self.assertEqual((len(self.calls), self.failure), (3, None))
        self.assertEqual(self.stored("station.unreachable") + self.stored("station.answered"), [])

    def test_after_a_session(self) -> None:
        """Where a session failed, which an event tells, one event tells that it answers again, when a call finds it."""
        self.start()
        self.answers()
        for _ in range(2):
            self.service.desk.station_tried(Station(host=HOST), "it refuses the connection")
            self.network.advance(60)
            self.refuses()
            self.assertEqual(self.stored("station.answered"), [])
        self.network.advance(60)
        self.answers()
        self.network.advance(300)
        (told,) = self.stored("station.answered")
        self.assertEqual((told["host"], told["port"], told.get("session")), (HOST, 3305, None))
        self.service.desk.station_tried(Station(host=HOST), "it refuses the connection")
        self.service.desk.station_tried(Station(host=HOST), None)
        self.service.desk.station_heard(Station(host=HOST), None)
        self.assertEqual(len(self.stored("station.answered")), 1)

    def test_mended_address(self) -> None:
        """The same holds where the address was wrong: the right one answers; a late word of the other says nothing."""
        self.start()
        self.service.desk.station_tried(Station(host=HOST), "it refuses the connection")
        self.backend.change(generation(2, station={"host": "192.0.2.21"}))
        self.service.desk.station_heard(Station(host=HOST), None)
        self.assertEqual(self.stored("station.answered"), [])
        self.answers()
        self.network.advance(1)
        self.assertEqual([each["host"] for each in self.stored("station.answered")], ["192.0.2.21"])

    def test_another_station(self) -> None:
        """A generation with another one has that called at once; one that changes something else has none called.

        What is heard of the one before says nothing.
        """
        self.start()
        self.refuses()
        self.backend.change(generation(2, station={"host": HOST}, pool={"ready": 3}))
        self.assertEqual(self.calls, [HOST])
        self.backend.change(generation(3, station={"host": "192.0.2.21"}))
        self.assertEqual((self.calls, self.failure), ([HOST, "192.0.2.21"], None))
        self.service.desk.station_tried(Station(host=HOST), "late")
        self.assertIsNone(self.failure)
        self.refuses()
        self.service.desk.station_tried(Station(host=HOST), None)
        self.assertIn("192.0.2.21:3305", str(self.failure))
        self.network.advance(60)
        self.assertEqual(self.calls, [HOST, "192.0.2.21", "192.0.2.21"])

    def test_operator_who_wants_none(self) -> None:
        """With 0 seconds it is called for sessions alone, after one that failed, too."""
        station = {"host": HOST, "retry": 0}
        self.backend.document = generation(1, station=station)
        self.start()
        self.service.desk.station_tried(Station(host=HOST, retry=0), "it does not answer")
        self.network.advance(120)
        self.assertEqual((self.calls, self.failure), ([], "it does not answer"))
        self.backend.change(generation(2, station={**station, "retry": 5}))
        self.refuses()
        self.network.advance(5)
        self.assertEqual(self.calls, [HOST, HOST])

    def test_end(self) -> None:
        """A client that stops gives the call up, and makes none."""
        self.start()
        stopped = self.service.stopService()
        self.network.advance(120)
        self.successResultOf(stopped)
        self.assertEqual((self.calls, self.failure, self.stored("internal.error")), ([HOST], None, []))

    def test_no_configuration(self) -> None:
        """No station is called while no configuration is in force."""
        self.backend.document = b"{}"
        self.start()
        self.network.advance(120)
        self.assertEqual(self.calls, [])

    def test_two_processes(self) -> None:
        """Of an older and a newer process of a client, the one that takes calls does it."""
        self.service._heir = True
        self.start()
        self.assertEqual(self.calls, [])
        self.successResultOf(Deferred.fromCoroutine(self.service.taken_over()))
        self.assertEqual(self.calls, [HOST])
        self.refuses()
        handing = Deferred.fromCoroutine(self.service.hand_over())
        self.network.advance(1)
        self.successResultOf(handing)
        adopted: list[Any] = []
        self.patch(self.service.calls, "adopt", adopted.append)
        self.backend.change(generation(2, station={"host": "192.0.2.21"}))
        self.network.advance(120)
        self.assertEqual((self.calls, adopted), ([HOST], []))
        self.assertEqual(len(self.stored("configuration.accepted")), 2)


class StationOfAWorker(SynchronousTestCase):
    """Where sessions live in workers, one of these calls it."""

    def test_told_to_the_supervisor(self) -> None:
        """What came of it is told to the supervisor alone, and then that the worker is free."""
        reactor: Any = MemoryReactorClock()
        worker = Mock(reactor=reactor)
        craft = ClientCraft(worker)
        asked: Any = craft.responders()
        station = Station(host=HOST)
        asked[Adopt]([write_object(ClientConfiguration(station=station))])
        answer = asked[HearStation](session="0123456789abcdef")
        worker.session_over.assert_not_called()
        reactor.tcpClients[-1][2].clientConnectionFailed(reactor.connectors[-1], Failure(ConnectionRefusedError()))
        self.assertEqual(self.successResultOf(answer), {})
        ((command,), told) = worker.link.tell.call_args
        self.assertIs(command, StationHeard)
        self.assertIn("it refuses the connection", told["message"])
        worker.session_over.assert_called_once_with("0123456789abcdef")
        worker.events.emit.assert_not_called()
