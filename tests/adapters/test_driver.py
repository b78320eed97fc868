"""The session driver: carries events and intents, and lets no exception out of its session."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.net.driver import SessionDriver
from smartproxy.net.leg import ILeg, Why
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.faults import Draining, OwnFault, QuotaExceeded, StationUnreachable
from smartproxy.relay.ending import Summary
from smartproxy.relay.events import Arrived, Event
from smartproxy.relay.intents import Abort, Intent, Send
from smartproxy.relay.openings import SessionFacts
from smartproxy.relay.session import Session
from tests.adapters.rig import FakeLeg, Journal
from tests.unit.playbook import CD_, PARTNER_SSID, RESPONDER, STATION_SSID, client, esid, server, sfid


class Stand:
    """A driver between fake legs."""

    def __init__(self, session: Session | None = None) -> None:
        self.clock = Clock()
        self.journal = Journal(self.clock)
        self.initiator = FakeLeg()
        self.responder = FakeLeg()
        self.facts: list[SessionFacts] = []
        self.opening: Deferred[ILeg] = Deferred(lambda opening: self.canceled.append(True))
        self.why: Why = nothing
        self.canceled: list[bool] = []
        self.done: list[Summary] = []
        self.ready: Deferred[None] = Deferred()
        waiting = None if session is None else self.ready
        self.session = session or server()
        self.driver = SessionDriver(
            self.session,
            self.initiator,
            clock=self.clock,
            events=self.journal.events,
            open_leg=self.open,
            finished=self.done.append,
            ready=waiting,
        )

    def open(self, session: str, facts: SessionFacts, why: Why) -> Deferred[ILeg]:
        """Open the Responder's leg."""
        self.why = why
        self.facts.append(facts)
        return self.opening

    def relaying(self) -> "Stand":
        """Come to where both SSIDs are exchanged."""
        self.driver.begin()
        self.initiator.receive(PARTNER_SSID)
        self.opening.callback(self.responder)
        self.responder.receive(STATION_SSID)
        return self


class Carried(SynchronousTestCase):
    """Events reach the session, intents the legs."""

    def test_octets(self) -> None:
        """Both ways."""
        stand = Stand().relaying()
        stand.initiator.receive(sfid())
        self.assertEqual(stand.responder.sent, PARTNER_SSID + sfid())
        self.assertEqual(stand.initiator.sent, SSRM_BUFFER + STATION_SSID)

    def test_end(self) -> None:
        """The session ends with the second of its legs; no timer is left."""
        stand = Stand().relaying()
        stand.driver.stop(Draining(rule="drain", message="the server stops"))
        self.assertEqual((stand.initiator.calls, stand.responder.calls), (["finish"], ["finish"]))
        stand.initiator.lose()
        self.assertEqual(stand.done, [])
        stand.responder.lose()
        self.assertEqual([summary.ending.outcome for summary in stand.done], ["stopped"])
        self.assertEqual(stand.clock.getDelayedCalls(), [])

    def test_back_pressure(self) -> None:
        """A full leg pauses the other one."""
        stand = Stand().relaying()
        receiver = stand.responder.receiver
        assert receiver is not None
        receiver.leg_full(stand.responder)
        self.assertEqual(stand.initiator.calls, ["pause"])
        receiver.leg_drained(stand.responder)
        self.assertEqual(stand.initiator.calls, ["pause", "resume"])

    def test_end_mark(self) -> None:
        """The other daemon's end mark ends the session."""
        stand = Stand().relaying()
        receiver = stand.responder.receiver
        assert receiver is not None
        receiver.leg_ended(stand.responder, None)
        self.assertEqual(stand.initiator.calls, ["finish"])

    def test_deadline(self) -> None:
        """A deadline passes on the clock, and activity puts it off."""
        stand = Stand().relaying()
        stand.clock.advance(179)
        stand.initiator.receive(CD_)
        stand.clock.advance(179)
        self.assertEqual(stand.journal.of("session.expired"), [])
        stand.clock.advance(1)
        self.assertEqual(stand.journal.the("session.expired")["timer"], "inactivity")

    def test_started_buffer_has_an_absolute_deadline(self) -> None:
        """One octet every nine seconds does not keep a buffer alive."""
        stand = Stand().relaying()
        for octet in sfid()[:6]:
            stand.initiator.receive(bytes([octet]))
            stand.clock.advance(9)
        self.assertEqual(stand.journal.of("session.expired"), [])
        stand.initiator.receive(sfid()[6:7])
        stand.clock.advance(8)
        self.assertEqual(stand.journal.the("session.expired")["timer"], "initiator_buffer")
        self.assertTrue(stand.initiator.sent.endswith(esid(EsidReason.TIME_OUT)))

    def test_all_deadlines_are_one_call_of_the_clock(self) -> None:
        """Deadlines that come and go cost the clock one call at a time, and each passes at its own second."""
        stand = Stand()
        stand.driver.begin()
        stand.initiator.receive(PARTNER_SSID)
        stand.clock.advance(1.25)
        stand.opening.callback(stand.responder)
        stand.responder.receive(STATION_SSID)
        for number, octet in enumerate(sfid()[:3]):
            stand.initiator.receive(bytes([octet]))
            stand.clock.advance(0.1)
            self.assertEqual(len(stand.clock.getDelayedCalls()), 1, number)
        stand.initiator.receive(sfid()[3:])
        stand.clock.advance(179.95)
        self.assertEqual(stand.journal.of("session.expired"), [])
        stand.clock.advance(0.05)
        self.assertEqual(stand.journal.the("session.expired")["timer"], "inactivity")

    def test_legs_that_do_not_close(self) -> None:
        """They are aborted, even if they ignored their own timers."""
        stand = Stand().relaying()
        stand.driver.stop(Draining(rule="drain", message="the server stops"))
        stand.clock.advance(5)
        self.assertEqual((stand.initiator.calls, stand.responder.calls), (["finish", "abort"],) * 2)

    def test_a_leg_that_calls_back_at_once(self) -> None:
        """Events that happen while intents are carried out wait for their turn."""
        stand = Stand().relaying()
        send = stand.responder.send

        def eager(octets: bytes) -> None:
            send(octets)
            receiver = stand.responder.receiver
            assert receiver is not None
            receiver.leg_full(stand.responder)
            receiver.octets_received(stand.responder, esid(EsidReason.TIME_OUT))

        self.patch(stand.responder, "send", eager)
        stand.initiator.receive(sfid())
        self.assertEqual(stand.initiator.calls, ["pause", "finish"])
        self.assertEqual(stand.responder.calls, ["finish"])


class Opening(SynchronousTestCase):
    """The Responder's leg is opened, or not."""

    def test_canceled(self) -> None:
        """When the Initiator goes, the attempt is canceled, and nothing is left."""
        stand = Stand()
        stand.driver.begin()
        stand.initiator.receive(PARTNER_SSID)
        stand.initiator.lose()
        self.assertEqual(stand.canceled, [True])
        self.assertEqual(len(stand.done), 1)
        self.assertEqual(stand.clock.getDelayedCalls(), [])

    def test_a_leg_too_late(self) -> None:
        """A leg that comes although it was canceled is aborted."""
        stand = Stand()
        stand.opening = Deferred(lambda opening: opening.callback(stand.responder))
        stand.driver.begin()
        stand.initiator.receive(PARTNER_SSID)
        stand.initiator.lose()
        self.assertEqual(stand.responder.calls, ["abort"])
        self.assertEqual(len(stand.done), 1)

    def test_a_leg_while_closing(self) -> None:
        """The same while the other leg is still closing."""
        stand = Stand()
        stand.opening = Deferred(lambda opening: opening.callback(stand.responder))
        stand.driver.begin()
        stand.initiator.receive(PARTNER_SSID)
        stand.driver.stop(Draining(rule="drain", message="the server stops"))
        self.assertEqual(stand.responder.calls, ["abort"])
        self.assertEqual(stand.done, [])
        stand.initiator.lose()
        self.assertEqual(len(stand.done), 1)

    def test_failed(self) -> None:
        """The fault is told to the session."""
        stand = Stand()
        stand.driver.begin()
        stand.initiator.receive(PARTNER_SSID)
        stand.opening.errback(StationUnreachable(rule="station.connect", message="it refuses the connection"))
        self.assertEqual(stand.journal.the("session.refused")["cause"], "station.connect")

    def test_refused_by_the_other_daemon(self) -> None:
        """A refusal of the other daemon is no bug: the partner is told that the other side is not there, and why."""
        stand = Stand()
        stand.driver.begin()
        stand.initiator.receive(PARTNER_SSID)
        stand.opening.errback(QuotaExceeded(rule="quota.sessions", message="the limit is reached"))
        self.assertEqual(stand.journal.the("session.refused")["cause"], "quota.sessions")
        self.assertTrue(stand.initiator.sent.endswith(esid(EsidReason.RESOURCES_NOT_AVAILABLE)))
        self.assertEqual(stand.journal.of("internal.error"), [])

    def test_ready(self) -> None:
        """On the client, the station's SSRM fires ``ready``."""
        stand = Stand(client())
        stand.driver.begin()
        stand.opening.callback(stand.responder)
        self.assertNoResult(stand.ready)
        stand.responder.receive(SSRM_BUFFER)
        self.assertIsNone(self.successResultOf(stand.ready))

    def test_not_ready(self) -> None:
        """And its absence fails it."""
        stand = Stand(client())
        stand.driver.begin()
        stand.opening.callback(stand.responder)
        stand.responder.lose()
        fault = self.failureResultOf(stand.ready, OwnFault).value
        self.assertEqual(fault.rule, "leg.lost")

    def test_nobody_asks(self) -> None:
        """A driver that nobody asked about readiness works all the same."""
        for octets in (SSRM_BUFFER, b"\0"):
            stand = Stand(client())
            driver = SessionDriver(
                stand.session,
                stand.initiator,
                clock=stand.clock,
                events=stand.journal.events,
                open_leg=stand.open,
                finished=stand.done.append,
            )
            driver.begin()
            stand.opening.callback(stand.responder)
            stand.responder.receive(octets)
            self.assertEqual(stand.journal.of("internal.error"), [])


class GivenUp(SynchronousTestCase):
    """The Responder's leg is not needed any more before it is there."""

    def test_whoever_opens_it_learns_why(self) -> None:
        """The cause of the end is known when the opening is canceled, and not before."""
        stand = Stand()
        stand.driver.begin()
        stand.initiator.receive(PARTNER_SSID)
        self.assertIsNone(stand.why())
        stand.initiator.receive(esid(EsidReason.RESOURCES_NOT_AVAILABLE))
        end = stand.why()
        assert end is not None
        self.assertEqual((stand.canceled, end.outcome, end.ended_by, end.reason), ([True], "aborted", "partner", 8))


class Wall(SynchronousTestCase):
    """Whatever is raised ends this one session, is told once, and quotes nobody."""

    def broken(self, stand: Stand, outcome: str = "failed") -> None:
        """Look that the session ended as it should."""
        self.flushLoggedErrors(RuntimeError)
        self.assertEqual([summary.ending.outcome for summary in stand.done], [outcome])
        self.assertEqual(stand.clock.getDelayedCalls(), [])
        self.assertNotIn("CANARY", repr(stand.journal.records))

    def test_session_raises(self) -> None:
        """A bug in the session: the partner is told 99, one ``internal.error`` with the session's id."""
        stand = Stand().relaying()
        receive = stand.session.receive

        def raising(event: Event) -> list[Intent]:
            if isinstance(event, Arrived):
                raise RuntimeError("CANARY")
            return receive(event)

        self.patch(stand.session, "receive", raising)
        stand.initiator.receive(CD_)
        self.assertTrue(stand.initiator.sent.endswith(esid(EsidReason.UNSPECIFIED_ABORT)))
        for leg in (stand.initiator, stand.responder):
            self.assertEqual(leg.calls, ["finish"])
        stand.initiator.lose()
        stand.responder.lose()
        self.broken(stand)
        error = stand.journal.the("internal.error")
        self.assertEqual((error["session"], error["exception"]), ("0123456789abcdef", "RuntimeError"))

    def test_start_raises(self) -> None:
        """A bug before the first octet."""
        stand = Stand()

        def raising() -> list[Intent]:
            raise RuntimeError("CANARY")

        self.patch(stand.session, "start", raising)
        stand.driver.begin()
        stand.initiator.lose()
        self.broken(stand)

    def test_nobody_waits_for_ever(self) -> None:
        """Who waits for the session to be ready learns that it will not be."""
        stand = Stand(client())

        def raising(event: Event) -> list[Intent]:
            raise RuntimeError("CANARY")

        self.patch(stand.session, "receive", raising)
        stand.driver.begin()
        stand.opening.callback(stand.responder)
        self.broken(stand)
        self.failureResultOf(stand.ready, StationUnreachable)

    def test_session_raises_again(self) -> None:
        """A session that cannot even end is ended without it; its legs are aborted."""
        stand = Stand().relaying()

        def raising(event: Event) -> list[Intent]:
            raise RuntimeError("CANARY")

        self.patch(stand.session, "receive", raising)
        stand.initiator.receive(CD_)
        self.assertEqual((stand.initiator.calls, stand.responder.calls), (["abort"], ["abort"]))
        self.assertEqual((stand.initiator.receiver, stand.responder.receiver), (None, None))
        self.broken(stand)

    def test_every_call_of_a_leg(self) -> None:
        """A leg whose calls raise does not keep the other one from being closed."""
        for name in ("send", "finish", "abort", "pause", "resume"):
            stand = Stand().relaying()

            def raising(*arguments: Any) -> None:
                raise RuntimeError("CANARY")

            self.patch(stand.initiator, name, raising)
            receiver = stand.responder.receiver
            assert receiver is not None
            receiver.leg_full(stand.responder)
            receiver.leg_drained(stand.responder)
            stand.responder.receive(esid(EsidReason.TIME_OUT))
            stand.clock.advance(5)
            for leg in (stand.initiator, stand.responder):
                if leg.receiver is not None:
                    leg.lose("aborted here")
            self.assertEqual(len(stand.done), 1, name)
            self.assertEqual(stand.clock.getDelayedCalls(), [], name)
            self.assertGreaterEqual(len(stand.journal.of("internal.error")), 1, name)
            self.flushLoggedErrors(RuntimeError)

    def test_open_raises(self) -> None:
        """Opening the leg raises at once."""
        stand = Stand()

        def raising(session: str, facts: SessionFacts, why: Why) -> Deferred[ILeg]:
            raise RuntimeError("CANARY")

        self.patch(stand.driver, "_open_leg", raising)
        stand.driver.begin()
        stand.initiator.receive(PARTNER_SSID)
        self.assertTrue(stand.initiator.sent.endswith(esid(EsidReason.UNSPECIFIED_ABORT)))
        stand.initiator.lose()
        self.broken(stand)

    def test_the_end_raises(self) -> None:
        """Whoever is told of the end raises: told once, all the same."""
        stand = Stand().relaying()
        calls: list[Summary] = []

        def raising(summary: Summary) -> None:
            calls.append(summary)
            raise RuntimeError("CANARY")

        self.patch(stand.driver, "_finished", raising)
        stand.driver.stop(Draining(rule="drain", message="the server stops"))
        stand.initiator.lose()
        stand.responder.lose()
        self.assertEqual(len(calls), 1)
        self.flushLoggedErrors(RuntimeError)

    def test_other_sessions_go_on(self) -> None:
        """A session beside the broken one is not touched."""
        broken, other = Stand().relaying(), Stand().relaying()

        def raising(event: Event) -> list[Intent]:
            raise RuntimeError("CANARY")

        self.patch(broken.session, "receive", raising)
        broken.initiator.receive(CD_)
        self.broken(broken)
        other.initiator.receive(CD_)
        self.assertTrue(other.responder.sent.endswith(CD_))

    def test_an_intent_for_a_leg_that_is_not_there(self) -> None:
        """A session that asks for the impossible is a bug like any other."""
        stand = Stand()

        def odd(event: Event) -> list[Intent]:
            return [Abort(RESPONDER), Send(RESPONDER, b"x")]

        self.patch(stand.session, "receive", odd)
        stand.driver.begin()
        stand.initiator.receive(PARTNER_SSID)
        self.broken(stand)
