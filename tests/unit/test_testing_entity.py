"""Entities of the test kit understand each other, at every level, in both roles, however the octets are cut."""

import hashlib
from collections.abc import Callable, Iterable

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Level, Role
from smartproxy.testing.events import (
    By,
    EndResponse,
    EndResponseReceived,
    EndResponseSent,
    FileBroken,
    FileReceived,
    FileRefused,
    FileSent,
    Progress,
    SessionOver,
    SessionStarted,
)
from smartproxy.testing.settings import Settings
from smartproxy.testing.user_monitor import PROCESSING_FAILED, FileRefusal, Response
from smartproxy.testing.virtual_file import FileIdentity, Format, join_records
from tests.unit.entities import (
    FILES,
    PARTNER,
    STATION,
    End,
    at_random,
    contents,
    converse,
    file,
    octet_by_octet,
    octets,
    pair,
    towards_partner,
    whole,
)


class SessionTests(SynchronousTestCase):
    """Whole sessions between two entities."""

    def exchange(
        self, partner: Settings, station: Settings, cut: Callable[[bytes], Iterable[bytes]] = whole
    ) -> tuple[End, End]:
        """Send all files both ways in one session, and compare what arrived."""
        left, right = pair(partner, station)
        left.monitor.queue(STATION, FILES)
        right.monitor.queue(PARTNER, towards_partner(FILES))
        converse(left, right, cut=cut)
        level = Level(min(partner.level, station.level))
        self.assertEqual(right.store.contents, contents(FILES, level))
        self.assertEqual(left.store.contents, contents(towards_partner(FILES), level))
        for end in (left, right):
            (ended,) = end.reported(SessionOver)
            self.assertEqual((ended.reason, ended.text), (EsidReason.NORMAL, ""))
            self.assertEqual(len(end.reported(FileSent)), len(FILES))
            responses = [event.kind for event in end.reported(EndResponseReceived)]
            self.assertEqual(responses, [EndResponse.EERP] * len(FILES))
        return left, right

    def test_every_level(self) -> None:
        """Files of all formats cross both ways with their end responses at each pair of release levels."""
        for partner_level in Level:
            for station_level in Level:
                left, _ = self.exchange(
                    Settings(code=PARTNER, level=partner_level), Settings(code=STATION, level=station_level)
                )
                (started,) = left.reported(SessionStarted)
                self.assertEqual(started.level, min(partner_level, station_level))

    def test_however_it_is_cut(self) -> None:
        """The session is the same octet by octet, in large pieces and cut at random."""
        partner, station = Settings(code=PARTNER, buffer_size=2000), Settings(code=STATION)
        reference = self.exchange(partner, station)
        for cut in (octet_by_octet, *(at_random(seed) for seed in range(5))):
            again = self.exchange(partner, station, cut)
            self.assertEqual([end.commands() for end in again], [end.commands() for end in reference])

    def test_buffer_sizes_and_credits(self) -> None:
        """Whatever sizes and credits are agreed, the lower one of both sides counts and every file arrives."""
        for buffer_size, credit, compression in (
            (128, 1, False),
            (129, 2, True),
            (130, 999, False),
            (4096, 3, True),
            (99999, 64, False),
            (99999, 1, True),
        ):
            left, right = self.exchange(
                Settings(code=PARTNER, buffer_size=buffer_size, credit=999, compression=True),
                Settings(code=STATION, buffer_size=99999, credit=credit, compression=compression),
            )
            (started,) = right.reported(SessionStarted)
            self.assertEqual((started.buffer_size, started.credit), (buffer_size, credit))
            self.assertEqual(started.compression, compression)
            for end in (left, right):
                self.assertLessEqual(longest_data(end.said), buffer_size)

    def test_compression_saves_octets(self) -> None:
        """Runs of an octet cross as compressed subrecords where both sides agreed to that, and only there."""
        lengths = []
        for compression in (False, True):
            settings = Settings(code=PARTNER, compression=True)
            left, right = pair(settings, Settings(code=STATION, compression=compression))
            left.monitor.queue(STATION, [file("ZEROS", bytes(100_000))])
            converse(left, right)
            self.assertEqual(list(right.store.contents.values()), [bytes(100_000)])
            lengths.append(len(left.said))
        self.assertGreater(lengths[0], 100_000)
        self.assertLess(lengths[1], 5_000)

    def test_authentication(self) -> None:
        """With secure authentication the six commands are exchanged before anything else, both ways."""
        left, right = self.exchange(
            Settings(code=PARTNER, authentication=True), Settings(code=STATION, authentication=True)
        )
        self.assertEqual(left.commands()[:4], "XJSA")
        self.assertEqual(right.commands()[:5], "IXAJS")

    def test_authentication_as_the_partner_wants(self) -> None:
        """A station that leaves it to its partners authenticates those that ask for it, and no others."""
        for wanted in (True, False):
            left, _ = self.exchange(
                Settings(code=PARTNER, authentication=wanted), Settings(code=STATION, authentication=None)
            )
            self.assertEqual([event.authentication for event in left.reported(SessionStarted)], [wanted])
        undecided, _ = self.exchange(
            Settings(code=PARTNER, authentication=None), Settings(code=STATION, authentication=None)
        )
        self.assertEqual([event.authentication for event in undecided.reported(SessionStarted)], [False])

    def test_turn_asked_for_in_efpa(self) -> None:
        """A Listener that asks for the turn in EFPA gets it, answers, and gives it back."""
        _, right = self.exchange(Settings(code=PARTNER), Settings(code=STATION, ask_for_turn=True))
        self.assertIn(b"4Y", right.said)
        self.assertNotIn(b"4N", right.said.partition(b"4Y")[0])

    def test_turn_asked_for_in_vain(self) -> None:
        """An entity whose EFPA asked for the turn may not end the session with it: it hands the turn back."""
        left, right = pair(Settings(code=PARTNER), Settings(code=STATION, ask_for_turn=True))
        left.monitor.queue(STATION, FILES[:1])
        converse(left, right)
        self.assertEqual((left.commands(), right.commands()), ("XHTRPF", "IX24ER"))

    def test_empty_session(self) -> None:
        """With nothing to send on either side the Initiator hands the turn over and the Responder ends the session."""
        left, right = pair(Settings(code=PARTNER), Settings(code=STATION))
        converse(left, right)
        self.assertEqual((left.commands(), right.commands()), ("XR", "IXF"))
        self.assertEqual([event.by for event in left.reported(SessionOver)], [By.PEER])
        self.assertEqual([event.by for event in right.reported(SessionOver)], [By.US])

    def test_one_way(self) -> None:
        """A side that only receives sends no file, but its end responses."""
        left, right = pair(Settings(code=PARTNER, direction="S"), Settings(code=STATION, direction="R"))
        left.monitor.queue(STATION, FILES)
        right.monitor.queue(PARTNER, towards_partner(FILES))
        converse(left, right)
        self.assertEqual(right.store.contents, contents(FILES))
        self.assertEqual(left.store.contents, {})
        self.assertEqual(len(left.reported(EndResponseReceived)), len(FILES))
        self.assertEqual(left.entity.ended, SessionOver(by=By.US, reason=EsidReason.NORMAL, text=""))

    def test_description_and_user_data(self) -> None:
        """Texts with letters beyond ASCII cross in SFIDDESC."""
        left, right = pair(Settings(code=PARTNER, user="HELLO"), Settings(code=STATION))
        left.monitor.queue(STATION, [attrs.evolve(FILES[1], description="Größe ≤ 63", user="ORDER1")])
        converse(left, right)
        self.assertEqual(right.store.contents, contents(FILES[1:2]))
        self.assertIn("010", left.said.decode("latin-1"))
        self.assertIn("Größe ≤ 63".encode(), bytes(left.said))

    def test_events_carry_what_a_table_needs(self) -> None:
        """Lengths and SHA-256 of both ends are those of the content, and progress is reported on the way."""
        content = octets(3_000_000)
        left, right = pair(Settings(code=PARTNER), Settings(code=STATION))
        left.monitor.queue(STATION, [file("BIG", content)])
        converse(left, right)
        (sent,), (received,) = left.reported(FileSent), right.reported(FileReceived)
        digest = hashlib.sha256(content).hexdigest()
        self.assertEqual((sent.octets, sent.sha256), (3_000_000, digest))
        self.assertEqual((received.octets, received.sha256), (3_000_000, digest))
        for end, sending in ((left, True), (right, False)):
            progress = end.reported(Progress)
            self.assertEqual([event.sending for event in progress], [sending] * 2)
            self.assertTrue(all(0 < event.octets <= event.total for event in progress))


def longest_data(said: bytearray) -> int:
    """The longest Data Exchange Buffer among what was said."""
    longest, at = 0, 0
    while at < len(said):
        length = int.from_bytes(said[at + 1 : at + 4])
        if said[at + 4 : at + 5] == b"D":
            longest = max(longest, length - 4)
        at += length
    return longest


class RefusalTests(SynchronousTestCase):
    """Files and sessions that one side does not want."""

    def test_negative_end_response(self) -> None:
        """A station that cannot process a file answers with NERP, with reason and text."""

        def respond(identity: FileIdentity) -> Response | None:
            return Response(
                identity=identity, kind=EndResponse.NERP, reason=PROCESSING_FAILED, text="Not a delivery note"
            )

        for level, text in ((Level.OFTP_2_0, "Not a delivery note"), (Level.OFTP_1_4, "")):
            left = End(Role.INITIATOR, Settings(code=PARTNER, level=level))
            right = End(Role.RESPONDER, Settings(code=STATION), respond=respond)
            left.monitor.queue(STATION, FILES[1:2])
            converse(left, right)
            (response,) = left.reported(EndResponseReceived)
            self.assertEqual(
                (response.identity, response.kind, response.reason, response.text),
                (FILES[1].identity, EndResponse.NERP, PROCESSING_FAILED, text),
            )
            (sent,) = right.reported(EndResponseSent)
            self.assertEqual(sent.kind, EndResponse.NERP)

    def test_no_negative_end_response_below_level_4(self) -> None:
        """Levels 1 and 2 have no NERP: none is sent, and the session ends normally."""

        def respond(identity: FileIdentity) -> Response | None:
            return Response(identity=identity, kind=EndResponse.NERP, reason=PROCESSING_FAILED)

        left = End(Role.INITIATOR, Settings(code=PARTNER, level=Level.OFTP_1_3))
        right = End(Role.RESPONDER, Settings(code=STATION), respond=respond)
        left.monitor.queue(STATION, FILES[1:2])
        converse(left, right)
        self.assertEqual(left.reported(EndResponseReceived), [])
        self.assertEqual(left.commands(), "XHDTR")

    def test_file_refused(self) -> None:
        """A file that the station does not take is answered with SFNA, and the next one goes on."""

        def refuse(identity: FileIdentity) -> FileRefusal | None:
            return FileRefusal(reason=1, text="No such order", retry=True) if identity.dataset == "ONE" else None

        for level, text in ((Level.OFTP_2_0, "No such order"), (Level.OFTP_1_3, "")):
            left = End(Role.INITIATOR, Settings(code=PARTNER, level=level))
            right = End(Role.RESPONDER, Settings(code=STATION), refuse=refuse)
            left.monitor.queue(STATION, FILES[1:3])
            converse(left, right)
            self.assertEqual(
                left.reported(FileRefused),
                [FileRefused(identity=FILES[1].identity, by=By.PEER, command="SFNA", reason=1, text=text, retry=True)],
            )
            self.assertEqual([event.by for event in right.reported(FileRefused)], [By.US])
            self.assertEqual(right.store.contents, contents(FILES[2:3], level))

    def test_duplicate_refused(self) -> None:
        """A file that arrived before is not taken again."""
        left, right = pair(Settings(code=PARTNER), Settings(code=STATION))
        for _ in range(2):
            left.monitor.queue(STATION, FILES[1:2])
            converse(left, right)
            refused = left.reported(FileRefused)
            left.again(Role.INITIATOR, Settings(code=PARTNER))
            right.again(Role.RESPONDER, Settings(code=STATION))
        (refusal,) = refused
        self.assertEqual((refusal.reason, refusal.text, refusal.retry), (13, "Duplicate file", False))

    def test_unknown_code_and_wrong_password(self) -> None:
        """A station that knows its peers refuses a stranger with 03 and a wrong password with 04, in text."""
        for peers, reason in (
            ({"O0099OTHER": ""}, EsidReason.USER_CODE_NOT_KNOWN),
            ({PARTNER: "SESAME"}, EsidReason.INVALID_PASSWORD),
            ({PARTNER: "OPEN"}, EsidReason.NORMAL),
        ):
            left, right = pair(Settings(code=PARTNER, password="OPEN"), Settings(code=STATION, peers=peers))
            converse(left, right)
            assert left.entity.ended is not None
            self.assertEqual((left.entity.ended.by, left.entity.ended.reason), (By.PEER, reason))
            self.assertEqual(left.entity.ended.text, reason.phrase)

    def test_authentication_unequal(self) -> None:
        """If only one side wants secure authentication the session ends with 12."""
        for ours, theirs in ((True, False), (False, True)):
            left, right = pair(
                Settings(code=PARTNER, authentication=ours), Settings(code=STATION, authentication=theirs)
            )
            converse(left, right)
            for end in (left, right):
                assert end.entity.ended is not None
                self.assertEqual(end.entity.ended.reason, EsidReason.SECURE_AUTHENTICATION_INCOMPATIBLE)

    def test_both_only_send(self) -> None:
        """Two sides that only send end with 10."""
        left, _ = ends = pair(Settings(code=PARTNER, direction="S"), Settings(code=STATION, direction="S"))
        converse(*ends)
        assert left.entity.ended is not None
        self.assertEqual(left.entity.ended.reason, EsidReason.MODE_OR_CAPABILITIES_INCOMPATIBLE)


class RestartTests(SynchronousTestCase):
    """Transfers that are broken off and restarted."""

    def test_broken_and_restarted(self) -> None:
        """A file of each format, cut in the middle, continues where whole blocks or records end, and arrives whole."""
        for sent, position in (
            (file("U", octets(10_000)), 4),
            (file("T", b"line\r\n" * 2000, Format.TEXT), 4),
            (file("F", octets(10_000), Format.FIXED, 100), 50),
            (file("V", join_records([octets(n) for n in range(150)]), Format.VARIABLE, 150), 100),
        ):
            settings = {"credit": 2, "buffer_size": 128, "compression": sent.format is Format.TEXT}
            partner, station = Settings(code=PARTNER, **settings), Settings(code=STATION)  # type: ignore[arg-type]  # by name
            left, right = pair(partner, station)
            left.monitor.queue(STATION, [attrs.evolve(sent, break_at=5000)])
            converse(left, right)
            (broken,) = left.reported(FileBroken)
            self.assertEqual((broken.sending, broken.position), (True, position))
            (partial,) = right.reported(FileBroken)
            self.assertEqual((partial.sending, partial.position), (False, position))
            self.assertEqual([event.reason for event in right.reported(SessionOver)], [None])
            self.assertEqual(right.store.contents, {})
            self.assertIsNotNone(left.monitor.next_file(STATION))

            left.again(Role.INITIATOR, partner)
            right.again(Role.RESPONDER, station)
            left.monitor.queue(STATION, [attrs.evolve(sent, restart_at=broken.position)])
            converse(left, right)
            self.assertEqual(right.store.contents, contents([sent]))
            (received,) = right.reported(FileReceived)
            self.assertEqual(received.from_position, position)
            self.assertEqual(received.sha256, hashlib.sha256(sent.content).hexdigest())
            self.assertLess(len(left.said), len(sent.content))

    def test_listener_has_less(self) -> None:
        """A Listener that has less than the Speaker offers answers with what it has."""
        left, right = pair(Settings(code=PARTNER), Settings(code=STATION))
        left.monitor.queue(STATION, [attrs.evolve(FILES[5], restart_at=50)])
        converse(left, right)
        self.assertEqual([event.from_position for event in right.reported(FileReceived)], [0])
        self.assertEqual(right.store.contents, contents([FILES[5]]))

    def test_restart_not_agreed(self) -> None:
        """Without the capability on both sides a file is sent from its beginning."""
        left, right = pair(Settings(code=PARTNER), Settings(code=STATION, restart=False))
        left.monitor.queue(STATION, [attrs.evolve(FILES[5], restart_at=50)])
        converse(left, right)
        self.assertEqual(right.store.contents, contents([FILES[5]]))
        self.assertEqual([event.reason for event in left.reported(SessionOver)], [EsidReason.NORMAL])

    def test_what_is_owed_survives_the_session(self) -> None:
        """An end response that could not be delivered is delivered in the next session."""
        left, right = pair(Settings(code=PARTNER), Settings(code=STATION))
        left.monitor.queue(STATION, FILES[1:2])
        while not right.reported(FileReceived):
            right.entity.receive(left.entity.take())
            left.entity.receive(right.entity.take())
        for end in (left, right):
            end.entity.lost("power failure")
        left.again(Role.INITIATOR, Settings(code=PARTNER))
        right.again(Role.RESPONDER, Settings(code=STATION))
        converse(left, right)
        self.assertEqual([event.kind for event in left.reported(EndResponseReceived)], [EndResponse.EERP])
