"""How a session begins: nobody inside hears of a connection before its SSID is accepted."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.commands import SSID
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.faults import IdentityMismatch, LevelTooLow, QuotaExceeded, StationUnreachable
from smartproxy.relay.deadlines import Timer
from smartproxy.relay.events import Arrived, LegOpened, Lost, OpenFailed, TimedOut
from smartproxy.relay.intents import Abort, Arm, Disarm, Finish, NotReady, Open, Ready, Send
from tests.unit.playbook import (
    CODE,
    IDENTIFIED,
    INITIATOR,
    INSIDE,
    OPENED_FACTS,
    PARTNER_SSID,
    RESPONDER,
    STARTED,
    STATION_SSID,
    Finished,
    Playbook,
    Told,
    client,
    esid,
    server,
    ssid,
)


class Greeting(SynchronousTestCase):
    """The server's side, up to the point at which both sides are there."""

    def test_server_greets_and_opens_after_ssid(self) -> None:
        """The server sends SSRM itself, judges the SSID, opens the inside and hands the SSID over as it came."""
        book = Playbook(server()).start(*STARTED)
        book.when(Arrived(INITIATOR, PARTNER_SSID), *IDENTIFIED)
        book.when(LegOpened(RESPONDER), *INSIDE)
        self.assertEqual(book.session._held, b"")
        book.when(
            Arrived(RESPONDER, STATION_SSID),
            Disarm(Timer.AUTHENTICATION),
            Send(INITIATOR, STATION_SSID),
            Arm(Timer.INACTIVITY, 180),
        )

    def test_ssid_octet_by_octet(self) -> None:
        """An SSID that trickles in has one deadline for all its octets, and opens the inside with its last one."""
        book = Playbook(server()).start(*STARTED)
        book.when(Arrived(INITIATOR, PARTNER_SSID[:1]), Arm(Timer.INITIATOR_BUFFER, 62))
        for place in range(1, len(PARTNER_SSID) - 1):
            book.when(Arrived(INITIATOR, PARTNER_SSID[place : place + 1]))
        book.when(Arrived(INITIATOR, PARTNER_SSID[-1:]), *IDENTIFIED, Disarm(Timer.INITIATOR_BUFFER))
        book.when(LegOpened(RESPONDER), *INSIDE)

    def test_judge_gets_the_ssid(self) -> None:
        """Policy is asked about the SSID that came."""
        asked: list[SSID] = []
        book = Playbook(server(asked.append))
        book.session.start()
        book.after(Arrived(INITIATOR, PARTNER_SSID))
        self.assertEqual([(one.code, one.lev) for one in asked], [(CODE, 5)])

    def test_password_is_in_no_report(self) -> None:
        """What is told of the SSID does not hold SSIDPSWD."""
        session = server()
        session.reporter.ask(lambda name, session, partner: True)
        session.start()
        told = repr(session.receive(Arrived(INITIATOR, PARTNER_SSID)))
        self.assertIn("SSIDPSWD", told)
        self.assertNotIn("SECRET", told)


class NotLetIn(SynchronousTestCase):
    """Sessions that the server does not let begin: the partner is told, the inside hears nothing."""

    def refused(self, fault: Exception, event: str, told: str) -> None:
        """Run a session whose SSID policy refuses with *fault*."""

        def judge(asked: SSID) -> None:
            raise fault

        book = Playbook(server(judge)).start(*STARTED)
        reason = fault.reason  # type: ignore[attr-defined]  # all faults of sessions have one
        book.when(
            Arrived(INITIATOR, PARTNER_SSID),
            Disarm(Timer.SSID),
            Told(event, cause="a.rule", message="a cause", told_partner=told, code=CODE, reason=int(reason)),
            Send(INITIATOR, esid(reason)),
            Finish(INITIATOR),
            Disarm(Timer.AUTHENTICATION),
            Arm(Timer.CLOSING, 5),
        )
        book.when(
            Lost(INITIATOR, "closed"),
            Disarm(Timer.CLOSING),
            Finished(outcome="refused", by=INITIATOR, cause="a.rule", reason=int(reason)),
        )

    def test_identity_mismatch(self) -> None:
        """Another partner's SSIDCODE: ESID 03, identity.refused."""
        self.refused(IdentityMismatch(rule="a.rule", message="a cause"), "identity.refused", "ESID 03")

    def test_level_too_low(self) -> None:
        """A release level below the partner's lowest: ESID 10, identity.refused."""
        self.refused(LevelTooLow(rule="a.rule", message="a cause"), "identity.refused", "ESID 10")

    def test_quota(self) -> None:
        """Too many sessions: ESID 08, so that the partner's retry logic works, and session.refused."""
        self.refused(QuotaExceeded(rule="a.rule", message="a cause"), "session.refused", "ESID 08")

    def test_refusal_in_the_layout_of_the_offered_level(self) -> None:
        """A partner that offered release 1.3 is told in the layout of release 1.3."""

        def judge(asked: SSID) -> None:
            raise LevelTooLow(rule="a.rule", message="a cause")

        book = Playbook(server(judge))
        book.session.start()
        intents = book.session.receive(Arrived(INITIATOR, ssid(lev=2, auth=None)))
        self.assertIn(Send(INITIATOR, b"\x10\x00\x00\x08F10\r"), intents)

    def test_station_unreachable(self) -> None:
        """The inside cannot be opened: ESID 08 with the fixed text, one event with the cause."""
        book = Playbook(server()).start(*STARTED).when(Arrived(INITIATOR, PARTNER_SSID), *IDENTIFIED)
        book.when(
            OpenFailed(RESPONDER, StationUnreachable(rule="station.connect", message="it refuses the connection")),
            Told(
                "session.refused",
                message="it refuses the connection",
                told_partner="ESID 08",
                cause="station.connect",
            ),
            Send(INITIATOR, esid(EsidReason.RESOURCES_NOT_AVAILABLE)),
            Finish(INITIATOR),
            Disarm(Timer.AUTHENTICATION),
            Disarm(Timer.OPENING),
            Arm(Timer.CLOSING, 5),
        )
        book.when(Lost(INITIATOR, "closed"), Disarm(Timer.CLOSING), Finished(outcome="unreachable", by=None, reason=8))

    def test_opening_takes_too_long(self) -> None:
        """Nobody inside answers in time: ESID 08, and the attempt is given up."""
        book = Playbook(server()).start(*STARTED).when(Arrived(INITIATOR, PARTNER_SSID), *IDENTIFIED)
        book.when(
            TimedOut(Timer.OPENING),
            Told("session.refused", cause="deadline.opening", told_partner="ESID 08"),
            Send(INITIATOR, esid(EsidReason.RESOURCES_NOT_AVAILABLE)),
            Finish(INITIATOR),
            Abort(RESPONDER),
            Disarm(Timer.AUTHENTICATION),
            Arm(Timer.CLOSING, 5),
        )
        book.when(LegOpened(RESPONDER), Abort(RESPONDER))
        book.when(Lost(RESPONDER, "aborted here"))
        book.when(Lost(INITIATOR, "closed"), Disarm(Timer.CLOSING), Finished(outcome="unreachable"))
        book.when(OpenFailed(RESPONDER, StationUnreachable(rule="late", message="late")))

    def test_partner_leaves_while_opening(self) -> None:
        """The partner goes away before the inside is there: the attempt is given up, one event says so."""
        book = Playbook(server()).start(*STARTED).when(Arrived(INITIATOR, PARTNER_SSID), *IDENTIFIED)
        book.when(
            Lost(INITIATOR, "closed"),
            Told(
                "session.abandoned",
                cause="leg.lost",
                message="the connection to the partner was lost: closed",
                peer="192.0.2.7:40112",
            ),
            Abort(RESPONDER),
            Disarm(Timer.AUTHENTICATION),
            Disarm(Timer.OPENING),
            Arm(Timer.CLOSING, 5),
            Disarm(Timer.CLOSING),
            Finished(outcome="lost", by=INITIATOR),
        )

    def test_partner_ends_before_its_ssid(self) -> None:
        """ESID instead of SSID: nothing is opened, one event says so."""
        book = Playbook(server()).start(*STARTED)
        book.when(
            Arrived(INITIATOR, esid(EsidReason.UNSPECIFIED_ABORT)),
            Told(
                "session.abandoned",
                cause="session.aborted",
                message="the partner ended the session with ESID 99",
                reason=99,
            ),
            Finish(INITIATOR),
            Disarm(Timer.AUTHENTICATION),
            Disarm(Timer.SSID),
            Arm(Timer.CLOSING, 5),
        )
        book.when(
            Lost(INITIATOR, "closed"), Disarm(Timer.CLOSING), Finished(outcome="aborted", by=INITIATOR, reason=99)
        )

    def test_partner_ends_while_opening(self) -> None:
        """ESID while the inside is being opened: the attempt is given up."""
        book = Playbook(server()).start(*STARTED).when(Arrived(INITIATOR, PARTNER_SSID), *IDENTIFIED)
        book.when(
            Arrived(INITIATOR, esid(EsidReason.TIME_OUT)),
            Told(
                "session.abandoned",
                cause="session.aborted",
                message="the partner ended the session with ESID 09",
                reason=9,
            ),
            Finish(INITIATOR),
            Abort(RESPONDER),
            Disarm(Timer.AUTHENTICATION),
            Disarm(Timer.OPENING),
            Arm(Timer.CLOSING, 5),
        )

    def test_violation_instead_of_ssid(self) -> None:
        """Octets that are no OFTP2: ESID 01 to the offender, and nobody inside is asked for."""
        book = Playbook(server()).start(*STARTED)
        book.when(
            Arrived(INITIATOR, b"GET / HTTP/1.1\r\n"),
            Told(
                "session.violation", rule="header.version", side="partner", phase="identifying", told_partner="ESID 01"
            ),
            Send(INITIATOR, esid(EsidReason.COMMAND_NOT_RECOGNISED)),
            Finish(INITIATOR),
            Disarm(Timer.AUTHENTICATION),
            Disarm(Timer.SSID),
            Arm(Timer.CLOSING, 5),
        )

    def test_no_ssid_in_time(self) -> None:
        """A partner that says nothing after SSRM is told ESID 09."""
        book = Playbook(server()).start(*STARTED)
        book.when(
            TimedOut(Timer.SSID),
            Told("session.expired", timer="ssid", side="partner", seconds=30, told_partner="ESID 09"),
            Send(INITIATOR, esid(EsidReason.TIME_OUT)),
            Finish(INITIATOR),
            Disarm(Timer.AUTHENTICATION),
            Arm(Timer.CLOSING, 5),
        )
        book.when(
            Lost(INITIATOR, "closed"),
            Disarm(Timer.CLOSING),
            Finished(outcome="expired", by=INITIATOR, cause="deadline.ssid"),
        )


class StationGreets(SynchronousTestCase):
    """The client's side: the station's SSRM is judged and kept, then the session is reported ready."""

    def test_client_takes_ssrm(self) -> None:
        """SSRM is not relayed: the server has greeted the partner already."""
        book = Playbook(client()).start(
            Arm(Timer.AUTHENTICATION, 61),
            Arm(Timer.OPENING, 20),
            Open(RESPONDER, OPENED_FACTS),
        )
        book.when(LegOpened(RESPONDER))
        book.when(
            Arrived(RESPONDER, SSRM_BUFFER),
            Disarm(Timer.OPENING),
            Arm(Timer.SSID, 30),
            Told("session.started", code=CODE, release_level=5),
            Ready(),
        )
        book.when(Arrived(INITIATOR, PARTNER_SSID), Disarm(Timer.SSID), Send(RESPONDER, PARTNER_SSID))
        book.when(
            Arrived(RESPONDER, STATION_SSID),
            Disarm(Timer.AUTHENTICATION),
            Send(INITIATOR, STATION_SSID),
            Arm(Timer.INACTIVITY, 180),
        )

    def opened(self) -> Playbook:
        """A client's session whose station accepted the connection."""
        book = Playbook(client())
        book.session.start()
        return book.when(LegOpened(RESPONDER))

    def closing(self) -> tuple[Finish | Disarm | Arm, ...]:
        """What every end before SSRM comes to: the data leg goes back without an ESID."""
        return (Finish(INITIATOR), Disarm(Timer.AUTHENTICATION), Disarm(Timer.OPENING), Arm(Timer.CLOSING, 5))

    def not_ready(self, intents: list[object]) -> StationUnreachable:
        """The fault that the other daemon is told."""
        (fault,) = [intent.fault for intent in intents if isinstance(intent, NotReady)]
        assert isinstance(fault, StationUnreachable)
        return fault

    def test_station_refuses_the_connection(self) -> None:
        """The fault goes to the server as it is; one event says it here."""
        book = Playbook(client())
        book.session.start()
        fault = StationUnreachable(rule="station.connect", message="it refuses the connection")
        book.when(
            OpenFailed(RESPONDER, fault),
            Told("station.unreachable", cause="station.connect", message="it refuses the connection"),
            NotReady(fault),
            *self.closing(),
        )
        book.when(Lost(INITIATOR, "closed"), Disarm(Timer.CLOSING), Finished(outcome="unreachable"))

    def test_station_closes_before_ssrm(self) -> None:
        """A station that hangs up at once is unreachable."""
        book = self.opened()
        intents: list[object] = [*book.session.receive(Lost(RESPONDER, "closed"))]
        self.assertEqual(self.not_ready(intents).rule, "leg.lost")
        self.assertEqual([Told("station.unreachable")], [intents[0]])
        self.assertEqual(tuple(intents[2:]), self.closing())

    def test_station_does_not_greet(self) -> None:
        """A station that accepts and stays silent is unreachable; its connection is closed without a word."""
        book = self.opened()
        intents: list[object] = [*book.session.receive(TimedOut(Timer.OPENING))]
        self.assertEqual(self.not_ready(intents).rule, "deadline.opening")
        self.assertEqual(
            intents[2:], [Finish(INITIATOR), Finish(RESPONDER), Disarm(Timer.AUTHENTICATION), Arm(Timer.CLOSING, 5)]
        )

    def test_station_greets_slowly(self) -> None:
        """A station that begins to greet and does not go on is unreachable, and it is said which deadline passed."""
        book = self.opened()
        book.session.receive(Arrived(RESPONDER, SSRM_BUFFER[:5]))
        intents: list[object] = [*book.session.receive(TimedOut(Timer.RESPONDER_BUFFER))]
        fault = self.not_ready(intents)
        self.assertEqual(
            (fault.rule, fault.message), ("deadline.buffer", "the station began to greet and let 62 s pass")
        )
        self.assertEqual(intents[0], Told("station.unreachable", cause="deadline.buffer", message=fault.message))
        self.assertEqual(tuple(intents[2:]), (Finish(INITIATOR), Finish(RESPONDER), *self.closing()[1:]))

    def test_silent_server(self) -> None:
        """The same on the client, where a buffer that the tunnel began stays a piece: it is not the station's fault."""
        book = self.opened()
        book.session.receive(Arrived(INITIATOR, b"\x10"))
        intents: list[object] = [*book.session.receive(TimedOut(Timer.INITIATOR_BUFFER))]
        self.assertEqual(intents[0], Told("session.expired", cause="deadline.buffer", side="partner"))
        self.assertEqual(self.not_ready(intents).rule, "deadline.buffer")

    def test_station_greets_wrongly(self) -> None:
        """What is no SSRM is a violation; before SSRM nobody is told an ESID."""
        book = self.opened()
        intents: list[object] = [*book.session.receive(Arrived(RESPONDER, b"220 ftp ready\r\n"))]
        self.assertEqual(self.not_ready(intents).rule, "header.version")
        self.assertEqual(
            intents[0], Told("session.violation", side="station", told_partner="closed", told_station="closed")
        )
        self.assertNotIn(Send, map(type, intents))

    def test_ssrm_and_esid_at_once(self) -> None:
        """A station that greets and says in the same breath that it cannot is heard: its ESID reaches the partner."""
        book = self.opened()
        busy = esid(EsidReason.RESOURCES_NOT_AVAILABLE)
        book.when(
            Arrived(RESPONDER, SSRM_BUFFER + busy),
            Disarm(Timer.OPENING),
            Arm(Timer.SSID, 30),
            Told("session.started"),
            Ready(),
            Send(INITIATOR, busy),
            Finish(INITIATOR),
            Finish(RESPONDER),
            Disarm(Timer.AUTHENTICATION),
            Disarm(Timer.SSID),
            Arm(Timer.CLOSING, 5),
        )

    def test_tunnel_lost_before_ssrm(self) -> None:
        """The data connection is lost while the station is dialled: the attempt is given up."""
        book = Playbook(client())
        book.session.start()
        intents: list[object] = [*book.session.receive(Lost(INITIATOR, "connection lost"))]
        self.assertEqual(intents[0], Told("session.abandoned"))
        self.assertIn(Abort(RESPONDER), intents)
        self.assertEqual(intents[-1], Finished(outcome="lost", by=INITIATOR))
