"""The long poll: a change reaches those who wait within two seconds, and waiting costs nothing."""

from unittest.mock import patch

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.backend import clients, generations, settings
from smartproxy.backend.api import WAITING_PER_CLIENT_MOST
from smartproxy.backend.client_requests import ClientRequests
from smartproxy.backend.generations import Tag
from smartproxy.backend.port import ApiSite
from smartproxy.backend.watch import CHANGE_LOOK_SECONDS, CHANGE_LOOK_SECONDS_HEARING, GenerationWatch
from smartproxy.policy.configuration import parse
from tests.adapters.api_site import Answer, ApiCase


class LongPoll(ApiCase):
    """Calls that wait."""

    def wait(self, seconds: int = 50) -> Deferred[Answer]:
        """A call of a client that has the newest generation."""
        newest = ClientRequests(self.store).generation()
        waiting = self.start("GET", f"/configuration?wait={seconds}", If_None_Match=f'"{newest}"')
        self.agent.flush()
        return waiting

    def pass_time(self, seconds: float) -> None:
        """Let time go by in small steps."""
        for _ in range(round(seconds / 0.25)):
            self.clock.advance(0.25)
        self.agent.flush()

    def test_change(self) -> None:
        """A change ends the wait within two seconds, with the new generation."""
        waiting = self.wait()
        self.pass_time(10)
        self.assertNoResult(waiting)
        with self.change() as change:
            settings.put(change, "server.deadlines.ssid", 45)
        self.pass_time(2)
        answer = self.successResultOf(waiting)
        self.assertEqual(answer.status, 200)
        self.assertEqual(parse(answer.body).server.deadlines.ssid, 45)

    def test_store_set_back(self) -> None:
        """A store that is a copy from before the client's generation has another one for it at once."""
        with self.store.reading() as session:
            newest = generations.newest_tag(session)
        known = attrs.evolve(newest, number=newest.number + 5)
        waiting = self.start("GET", "/configuration?wait=50", If_None_Match=f'"{known}"')
        self.agent.flush()
        answer = self.successResultOf(waiting)
        self.assertEqual(answer.status, 200)
        self.assertEqual(parse(answer.body).generation, newest.number + 1)
        self.assertNotEqual(parse(answer.body).store, newest.store)

    def test_no_change(self) -> None:
        """Without a change the wait ends with 304 when its time is over, and not before."""
        waiting = self.wait(20)
        self.pass_time(19.5)
        self.assertNoResult(waiting)
        self.pass_time(0.5)
        answer = self.successResultOf(waiting)
        self.assertEqual((answer.status, answer.headers["etag"]), (304, f'"{ClientRequests(self.store).generation()}"'))

    def test_nobody_asks_the_store_for_nothing(self) -> None:
        """When nobody waits, no timer runs."""
        waiting = self.wait(1)
        self.assertNotEqual(self.clock.getDelayedCalls(), [])
        self.pass_time(1)
        self.successResultOf(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_disabled_while_waiting(self) -> None:
        """A client that is disabled while it waits gets no configuration any more."""
        waiting = self.wait()
        with self.change() as change:
            clients.enable(change, "inner", False)
        self.pass_time(2)
        answer = self.successResultOf(waiting)
        self.assertEqual((answer.status, answer.json["error"]), (401, "removed"))

    def test_many_of_one_client(self) -> None:
        """One client cannot hold more than a few calls open; another client is not kept out by them."""
        waiting = [self.wait(5) for _ in range(WAITING_PER_CLIENT_MOST)]
        refused = self.successResultOf(self.wait(5))
        self.assertEqual((refused.status, refused.json["error"]), (429, "waiting"))
        self.pass_time(5)
        self.assertEqual([self.successResultOf(each).status for each in waiting], [304] * WAITING_PER_CLIENT_MOST)
        again = self.wait(1)
        self.assertNoResult(again)
        self.pass_time(1)
        self.assertEqual(self.successResultOf(again).status, 304)

    def test_gone_away(self) -> None:
        """When the caller goes away its wait ends: nothing is left of it, and nothing is told."""
        site = ApiSite(self.api.resource(), self.api.admits)
        protocol, transport = site.buildProtocol(None), StringTransport()
        protocol.makeConnection(transport)
        newest = ClientRequests(self.store).generation()
        protocol.dataReceived(
            f"GET /api/v1/configuration?wait=50 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.token}\r\n"
            f'If-None-Match: "{newest}"\r\n\r\n'.encode()
        )
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        protocol.connectionLost(Failure(CancelledError()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.told, [])
        self.assertEqual(self.api._waiting["inner"], 0)

    def test_store_fails(self) -> None:
        """A store that cannot be asked for a moment is told, and those who wait go on waiting."""
        waiting = self.wait(50)
        with patch.object(ClientRequests, "generation", side_effect=OSError("disk")):
            self.pass_time(2)
        self.assertNoResult(waiting)
        self.assertEqual([each["exception"] for each in self.told], ["OSError"])
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)


class Watch(SynchronousTestCase):
    """The watch itself."""

    def setUp(self) -> None:
        """A watch over a number."""
        self.clock = Clock()
        self.answer: Deferred[Tag] | None = None
        self.asked = 0
        self.failures: list[Failure] = []
        self.watch = GenerationWatch(self.clock, self.newest, self.failures.append)

    def newest(self) -> Deferred[Tag]:
        """The number, or what a test put in its place."""
        self.asked += 1
        return succeed(Tag(7)) if self.answer is None else self.answer

    def test_no_wait(self) -> None:
        """Who does not want to wait is answered without a question."""
        self.assertFalse(self.successResultOf(self.watch.changed(Tag(7), 0)))
        self.assertEqual(self.asked, 0)

    def test_changed_already(self) -> None:
        """A change just before the wait is noticed at once."""
        self.assertTrue(self.successResultOf(self.watch.changed(Tag(6), 9)))

    def test_one_question_for_all(self) -> None:
        """However many wait, the store is asked twice a second."""
        for _ in range(100):
            self.watch.changed(Tag(7), 60)
        self.clock.pump([CHANGE_LOOK_SECONDS] * 20)
        self.assertEqual(self.asked, 21)

    def test_told(self) -> None:
        """Where the database tells of changes, the store is asked at once, and by itself every ten seconds only."""
        self.watch.hearing = True
        waiting = self.watch.changed(Tag(7), 60)
        self.clock.pump([CHANGE_LOOK_SECONDS] * 10)
        self.assertEqual(self.asked, 1)
        self.watch.look_now()
        self.assertEqual(self.asked, 2)
        self.answer = succeed(Tag(8))
        self.watch.look_now()
        self.assertTrue(self.successResultOf(waiting))

    def test_told_while_it_asks(self) -> None:
        """A change that is told while the store is asked is asked for again: the answer may be from before it."""
        self.watch.hearing = True
        slow = self.answer = Deferred()
        waiting = self.watch.changed(Tag(7), 60)
        self.watch.look_now()
        self.answer = succeed(Tag(8))
        slow.callback(Tag(7))
        self.clock.advance(0)
        self.assertTrue(self.successResultOf(waiting))

    def test_told_to_nobody(self) -> None:
        """Where nobody waits, nothing is asked."""
        self.watch.look_now()
        self.assertEqual((self.asked, self.clock.getDelayedCalls()), (0, []))

    def test_missed(self) -> None:
        """A change that was not told of is found in the end."""
        self.watch.hearing = True
        waiting = self.watch.changed(Tag(7), 60)
        self.answer = succeed(Tag(8))
        self.clock.advance(CHANGE_LOOK_SECONDS_HEARING)
        self.assertTrue(self.successResultOf(waiting))

    def test_slow_store(self) -> None:
        """A store that does not answer is not asked again meanwhile, and waits still end in their time."""
        self.answer = Deferred()
        waiting = self.watch.changed(Tag(7), 3)
        self.clock.pump([CHANGE_LOOK_SECONDS] * 6)
        self.assertFalse(self.successResultOf(waiting))
        self.assertEqual(self.asked, 1)

    def test_slow_look_and_another_start(self) -> None:
        """Whoever comes and goes while a look is slow, there is one question at a time, and one every half second."""
        self.answer = Deferred()
        for _ in range(3):
            self.watch.changed(Tag(7), 30).addErrback(lambda failure: None).cancel()
        self.watch.changed(Tag(7), 30)
        self.assertEqual(self.asked, 1)
        slow, self.answer = self.answer, None
        slow.callback(Tag(7))
        self.clock.pump([CHANGE_LOOK_SECONDS] * 10)
        self.assertEqual(self.asked, 11)
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failing_store(self) -> None:
        """A failure is told, and the next question finds the change."""
        self.answer = fail(OSError("disk"))
        waiting = self.watch.changed(Tag(7), 30)
        self.answer = fail(OSError("disk"))
        self.clock.advance(CHANGE_LOOK_SECONDS)
        self.assertEqual([each.type for each in self.failures], [OSError])
        self.assertNoResult(waiting)
        self.answer = succeed(Tag(8))
        self.clock.advance(CHANGE_LOOK_SECONDS)
        self.assertTrue(self.successResultOf(waiting))

    def test_cancelled(self) -> None:
        """Who does not want to wait any more is forgotten; the others go on."""
        first, second = self.watch.changed(Tag(7), 30), self.watch.changed(Tag(7), 30)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.answer = succeed(Tag(8))
        self.clock.advance(CHANGE_LOOK_SECONDS)
        self.assertTrue(self.successResultOf(second))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        """When the daemon ends, everybody is answered."""
        waiting = [self.watch.changed(Tag(7), 30), self.watch.changed(Tag(7), 30)]
        self.watch.stop()
        self.assertEqual([self.successResultOf(each) for each in waiting], [False, False])
        self.assertEqual(self.clock.getDelayedCalls(), [])
