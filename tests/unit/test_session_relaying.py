"""Between the SSIDs and the end: what is relayed, held back, timed and told."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.catalogue import EVENTS
from smartproxy.oftp2.commands import EFID, EFNA, NERP, SFNA, SFPA
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Profile
from smartproxy.relay.deadlines import Timer
from smartproxy.relay.events import Arrived, LegDrained, LegFull, LegOpened, Lost
from smartproxy.relay.intents import Arm, Disarm, Done, Pause, Resume, Send, Tell
from tests.unit.playbook import (
    CD_,
    CDT_,
    CODE,
    EERP_,
    EFID_5,
    EFPA_N,
    IDENTIFIED,
    INITIATOR,
    INSIDE,
    PARTNER_SSID,
    RESPONDER,
    SFPA_0,
    STARTED,
    Playbook,
    Told,
    data,
    esid,
    framed,
    relaying_client,
    relaying_server,
    server,
    sfid,
    ssid,
)

QUIET = Arm(Timer.INACTIVITY, 180)


class Relayed(SynchronousTestCase):
    """Octets go over as they came, whole buffers in one write."""

    def test_a_file_crosses(self) -> None:
        """Each command of a file reaches the other side unchanged, on both daemons; the log follows."""
        for book in (relaying_server(), relaying_client()):
            book.when(Arrived(INITIATOR, sfid()), Send(RESPONDER, sfid()), QUIET)
            book.when(
                Arrived(RESPONDER, SFPA_0),
                Send(INITIATOR, SFPA_0),
                Told("file.started", dataset="INVOICES", link="in", stamp="20261120 1215300001", size=1, position=0),
                QUIET,
            )
            sent = data() + EFID_5
            book.when(Arrived(INITIATOR, sent), Send(RESPONDER, sent), QUIET)
            book.when(
                Arrived(RESPONDER, EFPA_N),
                Send(INITIATOR, EFPA_N),
                Told("file.ended", outcome="completed", octets=5, sender="initiator", originator=CODE),
                QUIET,
            )

    def test_the_largest_numbers(self) -> None:
        """A restart, an answer and a record count of 17 nines are legal: every event of the file can be recorded."""
        most = 10**17 - 1
        for book in (relaying_server(), relaying_client()):
            book.session.reporter.ask(lambda name, session, partner: True)
            told = {}
            for role, octets in (
                (INITIATOR, sfid(fmt="F", lrecl=80, rest=most)),
                (RESPONDER, framed(SFPA(acnt=most))),
                (INITIATOR, data() + framed(EFID(rcnt=most, ucnt=most))),
                (RESPONDER, EFPA_N),
            ):
                for intent in book.session.receive(Arrived(role, octets)):
                    if isinstance(intent, Tell):
                        checked = EVENTS[intent.name].check(intent.fields)
                        told[checked.get("command", intent.name)] = checked
            self.assertEqual(
                sorted(map(str, told)), ["DATA", "EFID", "EFPA", "SFID", "SFPA", "file.ended", "file.started"]
            )
            self.assertEqual(told["file.ended"]["outcome"], "completed")
            self.assertNotIn("records", told["file.ended"])
            self.assertNotIn("position", told["file.started"])
            fields = told["EFID"]["fields"]
            assert isinstance(fields, dict)
            self.assertEqual(fields["EFIDRCNT"], str(most))

    def test_commands_are_told_at_trace_level(self) -> None:
        """While it is wanted every command gives one ``session.command``, with its fields as plain values."""
        book = relaying_server()
        self.assertEqual(book.session.receive(Arrived(INITIATOR, sfid())), [Send(RESPONDER, sfid()), QUIET])
        book = relaying_server()
        book.session.reporter.ask(lambda name, session, partner: (name, partner) == ("session.command", "ACME"))
        intents = book.session.receive(Arrived(INITIATOR, sfid()))
        (told,) = [intent for intent in intents if isinstance(intent, Tell)]
        self.assertEqual(told, Told("session.command", command="SFID", sender="initiator", side="partner"))
        fields = told.fields["fields"]
        assert isinstance(fields, dict)
        self.assertEqual((fields["SFIDDSN"], fields["SFIDFMT"]), ("INVOICES", "U"))

    def test_data_is_told_while_traced(self) -> None:
        """Each DATA is told by its length, from the moment at which somebody wants to know until nobody does."""
        book = relaying_server().after(Arrived(INITIATOR, sfid()), Arrived(RESPONDER, SFPA_0))
        wanted = True
        book.session.reporter.ask(lambda name, session, partner: wanted)
        length = len(data())
        told = Told("session.command", command="DATA", length=length, fields={})
        book.when(Arrived(INITIATOR, data() * 2), Send(RESPONDER, data() * 2), told, told, QUIET)
        wanted = False
        book.when(Arrived(INITIATOR, data()), Send(RESPONDER, data()), QUIET)

    def test_octets_are_told_by_their_number(self) -> None:
        """Fields of octets, such as an authentication challenge's, appear in the log by their length only."""
        book = relaying_server().after(Arrived(INITIATOR, CD_))
        book.session.reporter.ask(lambda name, session, partner: True)
        intents = book.session.receive(Arrived(RESPONDER, EERP_))
        fields = next(intent.fields["fields"] for intent in intents if isinstance(intent, Tell))
        assert isinstance(fields, dict)
        self.assertEqual(fields["EERPHSH"], "0 octets")

    def test_part_of_a_buffer_waits(self) -> None:
        """A started buffer is not sent on before it is complete, and has one deadline from its first octet."""
        book = relaying_server().after(Arrived(INITIATOR, sfid()), Arrived(RESPONDER, SFPA_0))
        whole = data(b"0123456789")
        book.when(Arrived(INITIATOR, whole[:7]), Arm(Timer.INITIATOR_BUFFER, 62), QUIET)
        book.when(Arrived(INITIATOR, whole[7:9]), QUIET)
        book.when(
            Arrived(INITIATOR, whole[9:] + whole[:3]), Send(RESPONDER, whole), Arm(Timer.INITIATOR_BUFFER, 62), QUIET
        )
        book.when(Arrived(INITIATOR, whole[3:]), Send(RESPONDER, whole), Disarm(Timer.INITIATOR_BUFFER), QUIET)

    def test_both_directions_have_their_own_deadline(self) -> None:
        """A buffer started by the Responder does not touch the Initiator's deadline."""
        book = relaying_server().after(Arrived(INITIATOR, sfid()[:9]))
        book.when(Arrived(RESPONDER, esid(EsidReason.TIME_OUT)[:9]), Arm(Timer.RESPONDER_BUFFER, 62), QUIET)

    def test_inactivity_begins_when_negotiation_is_over(self) -> None:
        """As long as secure authentication runs its own deadline holds, and no inactivity time."""
        offer, answer = ssid(auth="Y"), ssid("O0013000002ME", pswd="", auth="Y")
        book = Playbook(server()).start(*STARTED).after(Arrived(INITIATOR, offer), LegOpened(RESPONDER))
        book.when(Arrived(RESPONDER, answer), Send(INITIATOR, answer))
        secd = b"\x10\x00\x00\x05J"
        book.when(Arrived(INITIATOR, secd), Send(RESPONDER, secd))


class HeldBack(SynchronousTestCase):
    """Back-pressure: who sends is held back while the other one does not take."""

    def test_a_full_leg_pauses_the_other(self) -> None:
        """The station stalls, so the partner is not read; when the station goes on, so does it."""
        book = relaying_server()
        book.when(LegFull(RESPONDER), Pause(INITIATOR))
        book.when(LegDrained(RESPONDER), Resume(INITIATOR), QUIET)
        book.when(LegFull(INITIATOR), Pause(RESPONDER))
        book.when(LegDrained(INITIATOR), Resume(RESPONDER), QUIET)

    def test_who_is_held_back_is_not_late(self) -> None:
        """The deadline of a started buffer rests while its sender is not read, and begins anew with its reading."""
        book = relaying_server().after(Arrived(INITIATOR, sfid()[:9]))
        book.when(LegFull(RESPONDER), Pause(INITIATOR), Disarm(Timer.INITIATOR_BUFFER))
        book.when(Arrived(INITIATOR, sfid()[9:12]), QUIET)
        book.when(LegDrained(RESPONDER), Resume(INITIATOR), Arm(Timer.INITIATOR_BUFFER, 62), QUIET)

    def test_full_before_the_other_is_there(self) -> None:
        """A partner that takes nothing while the inside is opened holds the station back from its first octet."""
        book = Playbook(server()).start(*STARTED).when(Arrived(INITIATOR, PARTNER_SSID), *IDENTIFIED)
        book.when(LegFull(INITIATOR))
        book.when(LegOpened(RESPONDER), *INSIDE, Pause(RESPONDER))

    def test_drained_before_the_other_is_there(self) -> None:
        """A leg that recovers before the other one is there changes nothing."""
        book = Playbook(server()).start(*STARTED).when(Arrived(INITIATOR, PARTNER_SSID), *IDENTIFIED)
        book.when(LegFull(INITIATOR))
        book.when(LegDrained(INITIATOR))
        book.when(LegOpened(RESPONDER), *INSIDE)


class FilesAreTold(SynchronousTestCase):
    """file.started, file.ended, file.response: what the two ends said, no more."""

    def test_refused_offer(self) -> None:
        """SFNA: the file never started, and ended refused with its reason."""
        answer = framed(SFNA(reas=13, rrtr="N", reast="duplicate"))
        relaying_server().after(Arrived(INITIATOR, sfid())).when(
            Arrived(RESPONDER, answer),
            Send(INITIATOR, answer),
            Told("file.ended", outcome="refused", answer=13, reason_text="duplicate", octets=0),
            QUIET,
        )

    def test_refused_end(self) -> None:
        """EFNA: the whole file was sent and refused."""
        answer = framed(EFNA(reas=11, reast="counts"))
        book = relaying_server().after(Arrived(INITIATOR, sfid()), Arrived(RESPONDER, SFPA_0))
        book.after(Arrived(INITIATOR, data() + EFID_5)).when(
            Arrived(RESPONDER, answer),
            Send(INITIATOR, answer),
            Told("file.ended", outcome="refused", answer=11, octets=5, records=0),
            QUIET,
        )

    def test_the_other_direction(self) -> None:
        """A file from the station goes out."""
        book = relaying_server().after(Arrived(INITIATOR, CD_), Arrived(RESPONDER, sfid("ORDERS")))
        book.when(
            Arrived(INITIATOR, SFPA_0),
            Send(RESPONDER, SFPA_0),
            Told("file.started", link="out", dataset="ORDERS", sender="responder"),
            QUIET,
        )

    def test_end_responses(self) -> None:
        """EERP and NERP are told, NERP with its reason."""
        book = relaying_server().after(Arrived(INITIATOR, CD_))
        book.when(
            Arrived(RESPONDER, EERP_),
            Send(INITIATOR, EERP_),
            Told("file.response", command="EERP", link="out", dataset="INVOICES", destination=CODE),
            QUIET,
        )
        nerp = framed(
            NERP(
                dsn="INVOICES",
                date=20261120,
                time=1215300001,
                dest=CODE,
                orig="O0013000002ME",
                crea="O0013000002ME",
                reas=13,
                reast="duplicate",
                hsh=b"",
                sig=b"",
            )
        )
        book.after(Arrived(INITIATOR, b"\x10\x00\x00\x05P")).when(
            Arrived(RESPONDER, nerp),
            Send(INITIATOR, nerp),
            Told("file.response", command="NERP", answer=13, reason_text="duplicate"),
            QUIET,
        )

    def test_stamp_of_old_levels(self) -> None:
        """Releases before 1.4 have six digits of date and of time."""
        book = Playbook(server()).start(*STARTED)
        book.after(Arrived(INITIATOR, ssid(lev=2, auth=None)), LegOpened(RESPONDER))
        book.after(Arrived(RESPONDER, ssid("O0013000002ME", pswd="", lev=2, auth=None)))
        offer = b"\x10\x00\x00\x84H" + b"OLD".ljust(26) + b" " * 9 + b"260120" + b"091500" + b" " * 8
        offer += b"O0013000002ME".ljust(25) + CODE.encode().ljust(25) + b"U" + b"0" * 5 + b"0" * 7 + b"0" * 9
        answer = b"\x10\x00\x00\x0e2" + b"0" * 9
        book.when(Arrived(INITIATOR, offer), Send(RESPONDER, offer), QUIET)
        book.when(
            Arrived(RESPONDER, answer), Send(INITIATOR, answer), Told("file.started", stamp="260120 091500"), QUIET
        )


class AnomaliesAreTold(SynchronousTestCase):
    """What the default profile tolerates is relayed unchanged and told once."""

    def test_tolerated(self) -> None:
        """A lower case dataset name is anomaly 8."""
        name = sfid("invoices_1")
        relaying_server().when(
            Arrived(INITIATOR, name),
            Send(RESPONDER, name),
            Told("session.anomaly", anomaly=8, command="SFID", field="SFIDDSN", side="partner", state="IDLE"),
            QUIET,
        )

    def test_counted(self) -> None:
        """How many there were stands in the summary."""
        book = relaying_server().after(Arrived(INITIATOR, sfid("invoices_1")), Lost(INITIATOR, "closed"))
        done = book.session.receive(Lost(RESPONDER, "closed"))[-1]
        assert isinstance(done, Done)
        self.assertEqual(done.summary.fields["anomalies"], 1)

    def test_strict(self) -> None:
        """The strict profile does not relay it."""
        book = relaying_server(Profile.STRICT)
        intents = book.session.receive(Arrived(INITIATOR, sfid("invoices_1")))
        self.assertEqual(intents[0], Told("session.violation", command="SFID", field="SFIDDSN", side="partner"))

    def test_credit(self) -> None:
        """CDT goes over like everything else."""
        book = relaying_server().after(Arrived(INITIATOR, sfid()), Arrived(RESPONDER, SFPA_0))
        book.after(Arrived(INITIATOR, data() * 3)).when(Arrived(RESPONDER, CDT_), Send(INITIATOR, CDT_), QUIET)
