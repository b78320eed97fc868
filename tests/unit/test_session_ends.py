"""How a session ends: who is told what, and that nothing is left open."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.commands import EFPA, SFNA
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Role
from smartproxy.policy.faults import Draining, TunnelLost
from smartproxy.relay import events
from smartproxy.relay.deadlines import Timer
from smartproxy.relay.events import Arrived, Bug, Ended, LegDrained, LegFull, LegOpened, Lost, Stop, TimedOut
from smartproxy.relay.intents import Abort, Arm, Disarm, Done, Finish, Intent, NotReady, Send, Tell
from smartproxy.relay.stages import TABLE, Stage
from tests.unit.playbook import (
    CD_,
    CUT_OFF,
    EFID_5,
    INITIATOR,
    LATE,
    LOST,
    PARTNER_SSID,
    RESPONDER,
    SFPA_0,
    STARTED,
    STATION_SSID,
    Expected,
    Finished,
    Playbook,
    Told,
    client,
    data,
    esid,
    framed,
    relaying_client,
    relaying_server,
    server,
    sfid,
    ssid,
)

CLOSE = (Disarm(Timer.INACTIVITY), Arm(Timer.CLOSING, 5))


def told_esid(side: Role, words: bytes) -> tuple[Intent, ...]:
    """The side outside is told by ESID, the other daemon by the end mark; both legs are closed."""
    if side is INITIATOR:
        return Send(INITIATOR, words), Finish(INITIATOR), Finish(RESPONDER)
    return Finish(INITIATOR), Send(RESPONDER, words), Finish(RESPONDER)


def gone(book: Playbook, finished: Finished) -> Finished:
    """Both legs end, one after the other; the session ends with the second."""
    book.when(Lost(INITIATOR, "closed"))
    book.when(
        Lost(RESPONDER, "closed"),
        Disarm(Timer.CLOSING),
        Told("session.ended", outcome=finished.ending["outcome"]),
        finished,
    )
    return finished


class EsidIsRelayed(SynchronousTestCase):
    """A session that one of the two ends by its own ESID."""

    def test_normal_end(self) -> None:
        """The ESID reaches the other side, then both are finished; octets after it are dropped and counted."""
        book = relaying_server().after(Arrived(INITIATOR, CD_))
        bye = esid(EsidReason.NORMAL)
        book.when(
            Arrived(RESPONDER, bye + b"\x10\x00\x00\x04"),
            Send(INITIATOR, bye),
            Finish(INITIATOR),
            Finish(RESPONDER),
            *CLOSE,
        )
        book.when(Arrived(INITIATOR, b"whatever"))
        done = gone(book, Finished(outcome="completed", by=RESPONDER, reason=0))
        assert done.summary is not None
        fields = dict(done.summary.fields)
        self.assertTrue(done.summary.started)
        self.assertEqual((fields["partner"], fields["direction"]), ("ACME", "inbound"))
        self.assertEqual((fields["discarded"], fields["side"]), (12, "station"))
        self.assertEqual((fields["octets_in"], fields["buffers_in"], fields["files_in"]), (70, 2, 0))
        self.assertEqual(fields["octets_out"], 23 + 65 + len(bye))
        agreed = fields["agreed"]
        assert isinstance(agreed, dict)
        self.assertEqual(
            agreed,
            {
                "level": 5,
                "buffer_size": 1024,
                "credit": 3,
                "compression": True,
                "restart": True,
                "authentication": False,
                "senders": "initiator and responder",
            },
        )

    def test_abnormal_end_breaks_a_file_off(self) -> None:
        """ESID in the middle of a file: the file is told as lost, with what was sent of it."""
        book = relaying_server().after(
            Arrived(INITIATOR, sfid()), Arrived(RESPONDER, SFPA_0), Arrived(INITIATOR, data())
        )
        late = esid(EsidReason.TIME_OUT)
        book.when(
            Arrived(RESPONDER, late),
            Send(INITIATOR, late),
            Told("file.ended", outcome="lost", octets=5),
            Finish(INITIATOR),
            Finish(RESPONDER),
            *CLOSE,
        )
        gone(book, Finished(outcome="aborted", by=RESPONDER, reason=9))

    def test_esid_behind_efid(self) -> None:
        """A program that says goodbye behind EFID: the file is not told as delivered (tolerated departure 4)."""
        book = relaying_server().after(
            Arrived(INITIATOR, sfid()), Arrived(RESPONDER, SFPA_0), Arrived(INITIATOR, data())
        )
        whole: list[tuple[int, int]] = []
        book.session.tell_sent(lambda octets, records: whole.append((octets, records)))
        both = EFID_5 + esid(EsidReason.NORMAL)
        book.when(
            Arrived(INITIATOR, both),
            Send(RESPONDER, both),
            Told("session.anomaly", anomaly=4),
            Told("file.ended", outcome="unconfirmed", records=0),
            Finish(INITIATOR),
            Finish(RESPONDER),
            *CLOSE,
        )
        done = gone(book, Finished(outcome="completed", by=INITIATOR, reason=0))
        assert done.summary is not None
        fields = done.summary.fields
        self.assertEqual((fields["unconfirmed"], fields["tolerated"]), (1, {"4": 1}))
        self.assertEqual(whole, [(5, 0)])

    def test_what_was_tolerated_is_listed(self) -> None:
        """``session.ended`` has how often each anomaly was tolerated, by its number, and no file that nobody lacks."""
        book = relaying_server()
        for _ in range(2):
            book.after(
                Arrived(INITIATOR, sfid("invoices")),
                Arrived(
                    RESPONDER, framed(SFNA(reas=3, rrtr="N", reast="Gr\u00fc\u00dfe")).replace(b"\xc3\xbc", b"\xfcn")
                ),
            )
        book.after(Arrived(INITIATOR, esid(EsidReason.NORMAL)))
        done = gone(book, Finished(outcome="completed", by=INITIATOR, reason=0))
        assert done.summary is not None
        fields = done.summary.fields
        self.assertEqual((fields["tolerated"], fields["anomalies"]), ({"4": 1, "8": 2, "27": 2}, 5))
        self.assertEqual(fields["unconfirmed"], 0)

    def test_nothing_was_tolerated(self) -> None:
        """A session without anomalies has no list of them."""
        book = relaying_server().after(Arrived(INITIATOR, esid(EsidReason.TIME_OUT)))
        done = gone(book, Finished(outcome="aborted", by=INITIATOR, reason=9))
        assert done.summary is not None
        self.assertIsNone(done.summary.fields["tolerated"])

    def test_on_the_client(self) -> None:
        """The same on the client: the data leg is finished, which gives it back to its pool."""
        bye = esid(EsidReason.UNSPECIFIED_ABORT)
        relaying_client().when(
            Arrived(INITIATOR, bye), Send(RESPONDER, bye), Finish(INITIATOR), Finish(RESPONDER), *CLOSE
        )


class Violations(SynchronousTestCase):
    """The offender gets its reason, the other side 99, the log everything but the octets."""

    def test_partner_offends(self) -> None:
        """What was right before the fault is relayed first."""
        good, bad = sfid(), CD_
        book = relaying_server().when(
            Arrived(INITIATOR, good + bad),
            Send(RESPONDER, good),
            Told(
                "session.violation",
                side="partner",
                sender="initiator",
                command="CD",
                section="9",
                state="OPENING",
                offset=4,
                position=len(PARTNER_SSID) + len(good),
                reason=2,
                phase="relaying",
                told_partner="ESID 02",
                told_station="ESID 99",
            ),
            Told("file.ended", outcome="lost"),
            *told_esid(INITIATOR, esid(EsidReason.PROTOCOL_VIOLATION)),
            *CLOSE,
        )
        gone(book, Finished(outcome="violated", by=INITIATOR, reason=2))

    def test_station_offends(self) -> None:
        """The other way round."""
        relaying_client().when(
            Arrived(RESPONDER, b"\x20"),
            Told("session.violation", rule="header.version", side="station", told_station="ESID 01"),
            *told_esid(RESPONDER, esid(EsidReason.COMMAND_NOT_RECOGNISED)),
            *CLOSE,
        )

    def test_octets_at_fault(self) -> None:
        """The report shows the octets up to the wrong one in hex, and nothing of what came behind it."""
        book = relaying_server()
        intents = book.session.receive(Arrived(INITIATOR, b"\x10\x00\x00\x41Z" + b"CANARY-CANARY"))
        self.assertIn(Told("session.violation", excerpt="100000415a", offset=4), intents)
        self.assertNotIn("CANARY", repr(intents))
        self.assertNotIn(b"CANARY".hex(), repr(intents))

    def test_secrets_are_masked_among_octets_at_fault(self) -> None:
        """The password of a wrong SSID is in no report."""
        book = Playbook(server()).start(*STARTED)
        wrong = ssid(pswd="HIDDEN").replace(b"BYYN", b"BYXN")
        intents = book.session.receive(Arrived(INITIATOR, wrong))
        (told,) = [each for each in intents if isinstance(each, Tell) and each.name == "session.violation"]
        self.assertEqual(
            (told.fields["field"], told.fields["excerpt"]),
            ("SSIDREST", wrong[:31].hex() + "**" * 8 + wrong[39:47].hex()),
        )
        self.assertNotIn(b"HIDDEN".hex(), repr(intents))


class Deadlines(SynchronousTestCase):
    """Who lets a deadline pass is told 09, the other one 99."""

    def late(self, book: Playbook, timer: Timer, late: Role, *before: Expected) -> None:
        """Let a deadline pass and look who is told what."""
        side = "partner" if late is INITIATOR else "station"
        partner = INITIATOR
        words = esid(EsidReason.TIME_OUT) if late is partner else LATE
        intents = book.session.receive(TimedOut(timer))
        expected = [
            Told("session.expired", side=side, timer=timer.value),
            *before,
            *told_esid(partner, words),
        ]
        self.assertEqual(intents[: len(expected)], expected)
        self.assertEqual(intents[-1], Arm(Timer.CLOSING, 5))

    def test_started_buffer(self) -> None:
        """A buffer that its sender does not finish."""
        self.late(relaying_server().after(Arrived(INITIATOR, CD_[:3])), Timer.INITIATOR_BUFFER, INITIATOR)
        self.late(relaying_server().after(Arrived(RESPONDER, CD_[:3])), Timer.RESPONDER_BUFFER, RESPONDER)

    def test_inactivity_while_idle(self) -> None:
        """Between files it is the Speaker whose turn it is."""
        self.late(relaying_server(), Timer.INACTIVITY, INITIATOR)
        self.late(relaying_server().after(Arrived(INITIATOR, CD_)), Timer.INACTIVITY, RESPONDER)

    def test_inactivity_while_an_answer_is_due(self) -> None:
        """After SFID it is the Listener's."""
        self.late(
            relaying_server().after(Arrived(INITIATOR, sfid())),
            Timer.INACTIVITY,
            RESPONDER,
            Told("file.ended", outcome="lost"),
        )

    def test_inactivity_while_a_file_is_sent(self) -> None:
        """The Speaker's as long as there is credit, then the Listener's."""
        sending = relaying_server().after(Arrived(INITIATOR, sfid()), Arrived(RESPONDER, SFPA_0))
        self.late(sending, Timer.INACTIVITY, INITIATOR, Told("file.ended"))
        spent = relaying_server().after(Arrived(INITIATOR, sfid()), Arrived(RESPONDER, SFPA_0))
        spent.after(Arrived(INITIATOR, data() * 3))
        self.late(spent, Timer.INACTIVITY, RESPONDER, Told("file.ended", octets=15))

    def test_inactivity_of_one_who_does_not_take(self) -> None:
        """A station that does not take what is sent is late, though it is the partner's turn to send."""
        stalled = relaying_server().after(Arrived(INITIATOR, sfid()), Arrived(RESPONDER, SFPA_0), LegFull(RESPONDER))
        self.late(stalled, Timer.INACTIVITY, RESPONDER, Told("file.ended"))

    def test_inactivity_when_neither_takes(self) -> None:
        """If neither takes anything, it is whose turn it is."""
        stalled = relaying_server().after(LegFull(RESPONDER), LegFull(INITIATOR))
        self.late(stalled, Timer.INACTIVITY, INITIATOR)

    def test_authentication(self) -> None:
        """A station that never answers the SSID."""
        book = Playbook(server()).start(*STARTED).after(Arrived(INITIATOR, PARTNER_SSID), LegOpened(RESPONDER))
        self.late(book, Timer.AUTHENTICATION, RESPONDER)

    def test_authentication_deadline_while_opening(self) -> None:
        """The partner is not to blame for the time that opening takes."""
        book = Playbook(server()).start(*STARTED).after(Arrived(INITIATOR, PARTNER_SSID))
        intents = book.session.receive(TimedOut(Timer.AUTHENTICATION))
        message = "the station did not greet before the 61 s until the end of authentication were over"
        self.assertEqual(
            intents[0],
            Told("session.refused", cause="deadline.authentication", message=message, told_partner="ESID 08"),
        )

    def test_buffer_deadline_while_opening(self) -> None:
        """A partner that begins something and does not end it is late itself, though the station is awaited."""
        book = Playbook(server()).start(*STARTED).after(Arrived(INITIATOR, PARTNER_SSID), Arrived(INITIATOR, b"\x10"))
        book.when(
            TimedOut(Timer.INITIATOR_BUFFER),
            Told("session.expired", cause="deadline.buffer", side="partner", phase="opening", told_partner="ESID 09"),
            Send(INITIATOR, esid(EsidReason.TIME_OUT)),
            Finish(INITIATOR),
            Abort(RESPONDER),
            Disarm(Timer.AUTHENTICATION),
            Disarm(Timer.OPENING),
            Arm(Timer.CLOSING, 5),
        )

    def test_closing(self) -> None:
        """Legs that do not close are aborted."""
        book = relaying_server().after(Stop(Draining(rule="drain", message="the server stops")))
        book.when(TimedOut(Timer.CLOSING), Abort(INITIATOR), Abort(RESPONDER))
        book.when(Lost(INITIATOR, "aborted here"))
        book.when(Lost(RESPONDER, "aborted here"), Told("session.ended"), Finished(outcome="stopped"))


class OurOwnFaults(SynchronousTestCase):
    """Ends that no peer is to blame for."""

    def test_drain(self) -> None:
        """Both are told 05."""
        book = relaying_server().when(
            Stop(Draining(rule="drain", message="the server stops")),
            Told(
                "session.failed",
                cause="drain",
                message="the server stops",
                told_partner="ESID 05",
                told_station="ESID 05",
            ),
            *told_esid(INITIATOR, esid(EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)),
            *CLOSE,
        )
        book.when(Stop(Draining(rule="drain", message="again")))
        gone(book, Finished(outcome="stopped", by=None, reason=5))

    def test_drain_before_the_ssid(self) -> None:
        """A partner who was greeted is told, too."""
        Playbook(server()).start(*STARTED).when(
            Stop(Draining(rule="drain", message="the server stops")),
            Told("session.failed", told_partner="ESID 05"),
            Send(INITIATOR, esid(EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)),
            Finish(INITIATOR),
            Disarm(Timer.AUTHENTICATION),
            Disarm(Timer.SSID),
            Arm(Timer.CLOSING, 5),
        )

    def test_drain_before_ssrm(self) -> None:
        """A station that has not greeted is not told anything; the server is told why."""
        book = Playbook(client()).after()
        book.session.start()
        fault = Draining(rule="drain", message="the client stops")
        self.assertIn(NotReady(fault), book.session.receive(Stop(fault)))

    def test_tunnel_lost(self) -> None:
        """99 once both SSIDs are exchanged, 08 before."""
        fault = TunnelLost(rule="tunnel.down", message="the tunnel is down")
        book = relaying_server()
        self.assertIn(Send(INITIATOR, CUT_OFF), book.session.receive(Stop(fault)))
        early = Playbook(server()).start(*STARTED)
        self.assertIn(Send(INITIATOR, esid(EsidReason.RESOURCES_NOT_AVAILABLE)), early.session.receive(Stop(fault)))

    def test_a_leg_is_lost(self) -> None:
        """The other side is told 99; nothing is sent to the one that is gone."""
        heard: dict[Role, tuple[Intent, ...]] = {INITIATOR: (), RESPONDER: (Send(INITIATOR, CUT_OFF),)}
        for leg, side, cause in ((INITIATOR, "partner", "leg.lost"), (RESPONDER, "tunnel", "tunnel.lost")):
            book = relaying_server().when(
                Lost(leg, "connection lost"),
                Told(
                    "session.failed",
                    message=f"the connection to the {side} was lost: connection lost",
                    side=side,
                    cause=cause,
                ),
                *heard[leg],
                Finish(leg.other),
                *CLOSE,
            )
            book.when(
                Lost(leg.other, "closed"),
                Disarm(Timer.CLOSING),
                Told("session.ended", outcome="lost", side=side),
                Finished(outcome="lost", by=leg),
            )

    def test_the_tunnel_is_lost_on_the_client(self) -> None:
        """Where the tunnel stands for the partner, it is not the partner who was lost."""
        for leg, side in ((INITIATOR, "tunnel"), (RESPONDER, "station")):
            book = relaying_client().after(Lost(leg, "connection lost"))
            book.when(
                Lost(leg.other, "closed"),
                Disarm(Timer.CLOSING),
                Told("session.ended", outcome="lost", side=side),
                Finished(outcome="lost", by=leg),
            )

    def test_the_other_daemon_ends(self) -> None:
        """The tunnel's end mark says nothing: the partner is told 99, our end mark answers."""
        book = relaying_server().when(
            Ended(RESPONDER),
            Told("session.failed", cause="leg.ended", ended_by="client", told_station="closed"),
            Send(INITIATOR, LOST),
            Finish(INITIATOR),
            Finish(RESPONDER),
            *CLOSE,
        )
        book.when(Ended(RESPONDER))
        gone(book, Finished(outcome="lost"))

    def test_bug(self) -> None:
        """A bug: both are told 99; if it happens again while closing, both legs are aborted."""
        book = relaying_server().when(
            Bug(),
            Told("session.failed", cause="internal.error"),
            *told_esid(INITIATOR, esid(EsidReason.UNSPECIFIED_ABORT)),
            *CLOSE,
        )
        book.when(Bug(), Abort(INITIATOR), Abort(RESPONDER))
        gone(book, Finished(outcome="failed", by=None))

    def test_bug_when_all_is_over(self) -> None:
        """A bug while the last intents are carried out ends the session all the same."""
        book = relaying_server().after(Bug(), Lost(INITIATOR, "closed"), Lost(RESPONDER, "closed"))
        self.assertIsInstance(book.session.receive(Bug())[-1], Done)


class LeavesWhenIdle(SynchronousTestCase):
    """A session that this site wants to end, if it can wait for that."""

    def leaving(self, *before: events.Event) -> Playbook:
        """A session in the middle of something, when it is wanted to end."""
        book = relaying_server().after(*before)
        return book.when(Stop(Draining(rule="first", message="first"), at_once=False))

    def test_idle(self) -> None:
        """An idle session ends at once."""
        book = relaying_server()
        intents = book.session.receive(Stop(Draining(rule="first", message="first"), at_once=False))
        self.assertEqual(intents[0], Told("session.failed", cause="first", phase="relaying"))

    def test_turned(self) -> None:
        """Who has just got the turn begins nothing more: both sides are told at once."""
        book = relaying_server().after(Arrived(INITIATOR, CD_))
        book.when(
            Stop(Draining(rule="first", message="first"), at_once=False),
            Told("session.failed", cause="first", phase="relaying"),
            *told_esid(INITIATOR, esid(EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN)),
            *CLOSE,
        )

    def test_turn_is_given_away(self) -> None:
        """A file is done when the turn is given away behind it; the new Speaker begins no other."""
        book = self.leaving(Arrived(INITIATOR, sfid())).after(
            Arrived(RESPONDER, SFPA_0), Arrived(INITIATOR, data() + EFID_5), Arrived(RESPONDER, framed(EFPA(cd="Y")))
        )
        self.assertIs(book.session.stage, Stage.LEAVING)
        intents = book.session.receive(Arrived(INITIATOR, CD_))
        self.assertEqual(intents[0], Send(RESPONDER, CD_))
        self.assertIn(Told("session.failed", cause="first", phase="relaying"), intents)
        self.assertIs(book.session.stage, Stage.ENDING)

    def test_answer_is_awaited(self) -> None:
        """It goes on with what it does, and ends behind it."""
        book = self.leaving(Arrived(INITIATOR, sfid()))
        self.assertIs(book.session.stage, Stage.LEAVING)
        self.assertEqual(book.session.portrait()["phase"], "transfer")
        refused = framed(SFNA(reas=3, rrtr="N", reast=""))
        intents = book.session.receive(Arrived(RESPONDER, refused))
        self.assertEqual(intents[1:2], [Send(INITIATOR, refused)])
        self.assertIn(Told("session.failed", cause="first", phase="relaying"), intents)
        self.assertIs(book.session.stage, Stage.ENDING)

    def test_while_negotiating(self) -> None:
        """The two agree first; nobody is told before they do."""
        book = Playbook(server()).start(*STARTED).after(Arrived(INITIATOR, PARTNER_SSID), LegOpened(RESPONDER))
        book.when(Stop(Draining(rule="first", message="first"), at_once=False))
        intents = book.session.receive(Arrived(RESPONDER, STATION_SSID))
        self.assertEqual(intents[0], Send(INITIATOR, STATION_SSID))
        self.assertIn(Told("session.failed", cause="first"), intents)

    def test_newest_wish_counts(self) -> None:
        """A second wish takes the place of the first; one that cannot wait ends the session at once."""
        book = self.leaving(Arrived(INITIATOR, sfid()))
        book.when(Stop(Draining(rule="second", message="second"), at_once=False))
        intents = book.session.receive(Stop(Draining(rule="third", message="third")))
        self.assertEqual(intents[0], Told("session.failed", cause="third"))

    def test_inactivity(self) -> None:
        """A session that is left waiting has its deadlines as before."""
        book = self.leaving(Arrived(INITIATOR, sfid()))
        book.when(
            Arrived(RESPONDER, SFPA_0[:3]),
            Arm(Timer.RESPONDER_BUFFER, 62),
            Arm(Timer.INACTIVITY, 180),
        )


class StageTable(SynchronousTestCase):
    """What a session does is what its table says."""

    def test_impossible_events_are_bugs(self) -> None:
        """An event that cannot happen in a stage is raised as one, and changes nothing."""
        for session in (server(), relaying_server().session):
            stage = session.stage
            self.assertRaises(LookupError, session.receive, LegOpened(RESPONDER))
            self.assertIs(session.stage, stage)

    def test_every_stage_can_end(self) -> None:
        """In each stage there is a reaction to a lost leg, a deadline, a wish to stop and a bug."""
        for stage in Stage:
            for event in (Lost, TimedOut, Stop, Bug, Arrived):
                self.assertIn((stage, event), TABLE)


class NothingMoreHappens(SynchronousTestCase):
    """While it closes, a session reacts to nothing but the end of its legs."""

    def test_while_closing(self) -> None:
        """Octets, fullness and late deadlines have no consequence."""
        book = relaying_server().after(Stop(Draining(rule="drain", message="the server stops")))
        for event in (Arrived(INITIATOR, CD_), LegFull(RESPONDER), LegDrained(RESPONDER), Ended(RESPONDER)):
            book.when(event)
