"""Trials from the backend to the client: waited for, carried out, told of."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import select
from treq.testing import RequestTraversalAgent
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import Agent

from smartproxy.backend import trials
from smartproxy.backend.session_tables import TrialRow
from smartproxy.client.address import BackendHttp
from smartproxy.client.backend import Backend, BackendUnavailable, Trial
from smartproxy.client.station import try_station
from smartproxy.client.token import TokenInForce
from smartproxy.client.trials import RETRY_SECONDS, Trials
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.configuration import ClientConfiguration
from smartproxy.policy.settings import Station
from tests.adapters.api_site import Answer, ApiCase
from tests.adapters.rig import Caller, Journal
from tests.adapters.test_client_backend import Answering
from tests.adapters.wires import Network
from tests.unit.playbook import PARTNER_SSID

SESSION = "0123456789abcdef"


class Offered(ApiCase):
    """What the backend tells its clients."""

    def ask(self, known: int | None, wait: int = 50) -> Deferred[Answer]:
        """A client asks."""
        headers: dict[str, Any] = {} if known is None else {"If_None_Match": f'"{known}"'}
        asking = self.start("GET", f"/trials?wait={wait}", **headers)
        self.agent.flush()
        return asking

    def leave(self, partner: str | None) -> str:
        """An operator wants to know; the trial's session."""
        with self.store.writing() as session:
            return trials.ask(session, partner, datetime.fromtimestamp(self.clock.seconds(), UTC)).session

    def test_first(self) -> None:
        """A client that has just begun learns where the trials stand, and carries out no old one."""
        self.leave("ACME")
        answer = self.successResultOf(self.ask(None))
        self.assertEqual(answer.json, {"newest": 1, "trials": []})

    def test_waits(self) -> None:
        """A trial reaches a client that waits within a second."""
        asking = self.ask(0)
        self.clock.advance(10)
        self.assertNoResult(asking)
        session = self.leave("ACME")
        for _ in range(4):
            self.clock.advance(0.25)
        self.agent.flush()
        answer = self.successResultOf(asking)
        self.assertEqual(answer.json, {"newest": 1, "trials": [{"session": session, "partner": "ACME"}]})

    def test_after_days(self) -> None:
        """When the trials of the days before are deleted, the next one has a higher number, and a client gets it."""
        self.leave("ACME")
        self.clock.advance(2 * 24 * 3600)
        asking = self.ask(1)
        session = self.leave("BOLT")
        self.clock.pump([0.25] * 4)
        self.agent.flush()
        answer = self.successResultOf(asking)
        self.assertEqual(answer.json, {"newest": 2, "trials": [{"session": session, "partner": "BOLT"}]})
        with self.store.reading() as reading:
            self.assertEqual([each.number for each in reading.scalars(select(TrialRow))], [2])

    def test_large_number(self) -> None:
        """A client that had a number above those of 31 bits is answered."""
        asking = self.ask(2**31, 0)
        self.clock.advance(1)
        self.agent.flush()
        self.assertEqual(self.successResultOf(asking).json, {"newest": 0, "trials": []})

    def test_nothing(self) -> None:
        """Without one, the wait ends when its time is over; those that are known are not told again."""
        self.leave(None)
        asking = self.ask(1, 5)
        self.clock.pump([0.5] * 11)
        self.agent.flush()
        self.assertEqual(self.successResultOf(asking).json, {"newest": 1, "trials": []})


class Asked(SynchronousTestCase):
    """What the client makes of the answer."""

    def trials(self, answer: bytes) -> Any:
        """The result of a call that is answered so."""
        self.server = Answering(lambda request: answer)
        agent = RequestTraversalAgent(self.server)
        backend = Backend(
            "https://backend.example", TokenInForce("spc_secret"), BackendHttp(cast(Agent, agent)), Clock()
        )
        asking = Deferred.fromCoroutine(backend.trials(7))
        agent.flush()
        return asking

    def test_answer(self) -> None:
        """Partners by name, and the station by none; what is known travels as the ETag."""
        answer = b'{"newest": 9, "trials": [{"session": "0123456789abcdef", "partner": "ACME"},'
        answer += b' {"session": "0123456789abcde0", "partner": null}]}'
        found = self.successResultOf(self.trials(answer))
        self.assertEqual(found, (9, [Trial(SESSION, "ACME"), Trial("0123456789abcde0", None)]))
        self.assertEqual(self.server.seen[0][2]["if-none-match"], '"7"')

    def test_not_an_answer(self) -> None:
        """Anything else is no answer of a backend."""
        for answer in (
            b"{}",
            b'{"newest": "9", "trials": []}',
            b'{"newest": 9, "trials": {}}',
            b'{"newest": 9, "trials": [{}]}',
            b'{"newest": 9, "trials": [{"session": "x", "partner": null}]}',
            b'{"newest": 9, "trials": [{"session": "0123456789abcdef", "partner": 1}]}',
        ):
            self.failureResultOf(self.trials(answer), BackendUnavailable)


class Asking:
    """A backend whose answers a test gives."""

    def __init__(self) -> None:
        self.known: list[int | None] = []
        self.answer: Deferred[tuple[int, Sequence[Trial]]] = Deferred()

    async def trials(self, known: int | None) -> tuple[int, Sequence[Trial]]:
        """Wait for the test."""
        self.known.append(known)
        return await self.answer

    def give(self, result: Any) -> None:
        """Answer, and be ready for the next question."""
        answer, self.answer = self.answer, Deferred()
        if isinstance(result, Exception):
            answer.errback(Failure(result))
        else:
            answer.callback(result)


class CarriedOut(SynchronousTestCase):
    """What the client does."""

    def setUp(self) -> None:
        """A client that waits."""
        self.reactor: Any = MemoryReactorClock()
        self.network = Network(self.reactor)
        self.journal = Journal(self.reactor)
        self.backend = Asking()
        self.calls: list[tuple[str, str]] = []
        self.tried: list[tuple[str, str | None]] = []
        self.trials = Trials(
            reactor=self.reactor,
            events=self.journal.events,
            backend=cast(Backend, self.backend),
            try_out=self.try_out,
        )
        self.trials.start()

    async def try_out(self, session: str, partner: str | None) -> None:
        """Note a partner, and call the station."""
        if partner is not None:
            self.calls.append((session, partner))
            return
        configuration = ClientConfiguration(station=Station(host="192.0.2.99", port=3305, timeout=10))
        await try_station(
            self.reactor,
            self.journal.events,
            configuration,
            session,
            lambda station, message: self.tried.append((station.host, message)),
        )

    def station(self) -> Caller:
        """The station takes the connection of a trial."""
        self.backend.give((1, [Trial(SESSION, None)]))
        caller = Caller()
        near = self.reactor.tcpClients[-1][2].buildProtocol(IPv4Address("TCP", "192.0.2.99", 3305))
        self.network.connect(near, caller, "192.168.7.2")
        self.network.settle()
        return caller

    def told(self, name: str) -> Any:
        """The event that came of it, when nothing is left behind."""
        self.trials.stop()
        self.reactor.advance(30)
        self.network.settle()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        found = self.journal.the(name)
        self.assertEqual((found["session"], found["host"], found["port"]), (SESSION, "192.0.2.99", 3305))
        self.assertEqual(self.tried, [("192.0.2.99", found.get("message"))])
        return found

    def test_partners(self) -> None:
        """Each trial of an answer is carried out, and the next is waited for from there."""
        self.backend.give((5, []))
        self.reactor.advance(1)
        self.backend.give((7, [Trial("a", "ACME"), Trial("b", "BOLT")]))
        self.assertEqual(self.calls, [("a", "ACME"), ("b", "BOLT")])
        self.assertEqual(self.backend.known, [None, 5, 7])

    def test_backend_away(self) -> None:
        """It is asked again, not at once and not louder than that."""
        self.backend.give(BackendUnavailable("away"))
        self.assertEqual(len(self.backend.known), 1)
        self.reactor.advance(RETRY_SECONDS)
        self.assertEqual(len(self.backend.known), 2)
        self.assertEqual(self.journal.names(), [])

    def test_a_bug(self) -> None:
        """A bug is reported as one."""
        self.backend.give(ZeroDivisionError())
        self.assertEqual(self.journal.the("internal.error")["exception"], "ZeroDivisionError")

    def test_station_greets(self) -> None:
        """Its SSRM is all that is wanted; nothing is sent."""
        caller = self.station()
        transport: Any = caller.transport
        transport.write(SSRM_BUFFER[:5])
        self.network.settle()
        transport.write(SSRM_BUFFER[5:])
        self.network.settle()
        transport.loseConnection()
        self.told("station.answered")
        self.assertEqual(caller.received, b"")

    def test_station_refuses(self) -> None:
        """A station that is not there."""
        self.backend.give((1, [Trial(SESSION, None)]))
        self.reactor.tcpClients[-1][2].clientConnectionFailed(
            self.reactor.connectors[-1], Failure(ConnectionRefusedError())
        )
        self.assertIn("it refuses the connection", self.told("station.unreachable")["message"])

    def test_station_says_something_else(self) -> None:
        """What it says is no SSRM."""
        transport: Any = self.station().transport
        transport.write(PARTNER_SSID)
        self.network.settle()
        transport.loseConnection()
        self.assertIn("what the station sent is not SSRM", self.told("station.unreachable")["message"])

    def test_station_closes(self) -> None:
        """It closes without a word."""
        transport: Any = self.station().transport
        transport.loseConnection()
        self.network.settle()
        self.assertIn("closed the connection before it", self.told("station.unreachable")["message"])

    def test_station_is_silent(self) -> None:
        """It says nothing within its time."""
        caller = self.station()
        self.reactor.advance(10)
        self.network.settle()
        transport: Any = caller.transport
        transport.loseConnection()
        self.assertIn("did not send it within 10 s", self.told("station.unreachable")["message"])
