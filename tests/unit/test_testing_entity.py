"""Entities of the test kit understand each other, at every level, in both roles, however the octets are cut."""

import datetime
import hashlib
import random
from collections.abc import Callable, Iterable
from typing import TypeVar

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import commands
from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.roles import Level, Role
from smartproxy.oftp2.stream import frame
from smartproxy.testing.entity import Entity
from smartproxy.testing.events import (
    By,
    EndResponse,
    EndResponseReceived,
    EndResponseSent,
    Event,
    FileBroken,
    FileReceived,
    FileRefused,
    FileSent,
    Progress,
    SessionEnded,
    SessionStarted,
)
from smartproxy.testing.settings import Settings
from smartproxy.testing.states import State
from smartproxy.testing.store import MemoryStore
from smartproxy.testing.user_monitor import PROCESSING_FAILED, Refusal, Response, UserMonitor
from smartproxy.testing.virtual_file import Format, Identity, VirtualFile, join_records

E = TypeVar("E", bound=Event)
MOMENT = datetime.datetime(2026, 11, 20, 14, 37, 4)
PARTNER, STATION = "O0099ACME", "O0013STATION"


def octets(length: int, seed: int = 1) -> bytes:
    """Octets without a pattern."""
    return random.Random(seed).randbytes(length)


def runs(length: int, seed: int = 1) -> bytes:
    """Octets with runs that compression can use."""
    rng = random.Random(seed)
    made = bytearray()
    while len(made) < length:
        made += rng.randbytes(rng.randrange(5)) + rng.randbytes(1) * rng.randrange(200)
    return bytes(made[:length])


def file(
    name: str,
    content: bytes,
    file_format: Format = Format.UNSTRUCTURED,
    record_length: int = 0,
    originator: str = PARTNER,
    destination: str = STATION,
) -> VirtualFile:
    """A file from the partner to the station, or as told."""
    identity = Identity.stamped(name, originator, destination, MOMENT)
    return VirtualFile(identity=identity, format=file_format, record_length=record_length, content=content)


FILES = [
    file("EMPTY", b""),
    file("ONE", b"x"),
    file("SIXTY-THREE", octets(63)),
    file("SIXTY-FOUR", octets(64)),
    file("FIVE-K", octets(5120)),
    file("LONG", octets(100_000)),
    file("RUNS", runs(20_000)),
    file("TEXT", b"The quick brown fox\r\njumps\r\n" * 200, Format.TEXT),
    file("FIXED", octets(8000), Format.FIXED, 80),
    file("FIXED-EMPTY", b"", Format.FIXED, 80),
    file("FIXED-LONG", runs(20_000), Format.FIXED, 10_000),
    file("VARIABLE", join_records([runs(n * 7 % 400, n) for n in range(150)]), Format.VARIABLE, 400),
    file("VARIABLE-EMPTY-RECORDS", join_records([b"", b"x", b"", b""]), Format.VARIABLE, 1),
]


def towards_partner(files: list[VirtualFile]) -> list[VirtualFile]:
    """The same files from the station to the partner."""
    return [
        attrs.evolve(sent, identity=attrs.evolve(sent.identity, originator=STATION, destination=PARTNER))
        for sent in files
    ]


class End:
    """One end: an entity with its User Monitor, its store and what it reported."""

    def __init__(
        self,
        role: Role,
        settings: Settings,
        store: MemoryStore | None = None,
        respond: Callable[[Identity], Response | None] | None = None,
        refuse: Callable[[Identity], Refusal | None] | None = None,
    ) -> None:
        self.store = store or MemoryStore()
        more = {name: given for name, given in (("respond", respond), ("refuse", refuse)) if given}
        self.monitor = UserMonitor(self.store, **more)  # type: ignore[arg-type]  # mypy sees one union of both
        self.events: list[Event] = []
        self.entity = Entity(role, settings, self.monitor, self.events.append)
        self.said = bytearray()

    def again(self, role: Role, settings: Settings) -> None:
        """Begin another session with the same User Monitor."""
        self.events = []
        self.entity = Entity(role, settings, self.monitor, self.events.append)
        self.said = bytearray()

    def reported(self, kind: type[E]) -> list[E]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def commands(self) -> str:
        """The command octets that were said, in order."""
        found, at = [], 0
        while at < len(self.said):
            found.append(chr(self.said[at + 4]))
            at += int.from_bytes(self.said[at + 1 : at + 4])
        return "".join(found)


def whole(said: bytes) -> Iterable[bytes]:
    """What was said, in one piece."""
    yield said


def octet_by_octet(said: bytes) -> Iterable[bytes]:
    """What was said, an octet at a time."""
    return (said[at : at + 1] for at in range(len(said)))


def at_random(seed: int) -> Callable[[bytes], Iterable[bytes]]:
    """What was said, cut at random."""
    rng = random.Random(seed)

    def cut(said: bytes) -> Iterable[bytes]:
        at = 0
        while at < len(said):
            length = rng.choice((1, 2, 3, 5, 64, 1000, 70_000))
            yield said[at : at + length]
            at += length

    return cut


def converse(*ends: End, cut: Callable[[bytes], Iterable[bytes]] = whole) -> None:
    """Carry octets between two ends until both have nothing to say; a cut cable loses both."""
    one, other = ends
    said = True
    while said:
        said = False
        for speaker, listener in ((one, other), (other, one)):
            while octets_said := speaker.entity.take(5000):
                said = True
                speaker.said += octets_said
                for piece in cut(octets_said):
                    listener.entity.receive(piece)
            if speaker.entity.broken:
                speaker.entity.lost("cut")
                listener.entity.lost("connection lost")


def pair(initiator: Settings, responder: Settings) -> tuple[End, End]:
    """A partner and a station."""
    return End(Role.INITIATOR, initiator), End(Role.RESPONDER, responder)


def contents(files: Iterable[VirtualFile], level: Level = Level.OFTP_2_0) -> dict[Identity, bytes | None]:
    """What a store that received these files holds."""
    return {(sent.identity.reduced if level < Level.OFTP_1_4 else sent.identity): bytes(sent.content) for sent in files}


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
            (ended,) = end.reported(SessionEnded)
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
        self.assertEqual([event.by for event in left.reported(SessionEnded)], [By.PEER])
        self.assertEqual([event.by for event in right.reported(SessionEnded)], [By.US])

    def test_one_way(self) -> None:
        """A side that only receives sends no file, but its end responses."""
        left, right = pair(Settings(code=PARTNER, direction="S"), Settings(code=STATION, direction="R"))
        left.monitor.queue(STATION, FILES)
        right.monitor.queue(PARTNER, towards_partner(FILES))
        converse(left, right)
        self.assertEqual(right.store.contents, contents(FILES))
        self.assertEqual(left.store.contents, {})
        self.assertEqual(len(left.reported(EndResponseReceived)), len(FILES))
        self.assertEqual(left.entity.ended, SessionEnded(by=By.US, reason=EsidReason.NORMAL, text=""))

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

        def respond(identity: Identity) -> Response | None:
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

        def respond(identity: Identity) -> Response | None:
            return Response(identity=identity, kind=EndResponse.NERP, reason=PROCESSING_FAILED)

        left = End(Role.INITIATOR, Settings(code=PARTNER, level=Level.OFTP_1_3))
        right = End(Role.RESPONDER, Settings(code=STATION), respond=respond)
        left.monitor.queue(STATION, FILES[1:2])
        converse(left, right)
        self.assertEqual(left.reported(EndResponseReceived), [])
        self.assertEqual(left.commands(), "XHDTR")

    def test_file_refused(self) -> None:
        """A file that the station does not take is answered with SFNA, and the next one goes on."""

        def refuse(identity: Identity) -> Refusal | None:
            return Refusal(reason=1, text="No such order", retry=True) if identity.dataset == "ONE" else None

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
            partner, station = Settings(code=PARTNER, **settings), Settings(code=STATION)  # type: ignore[arg-type]
            left, right = pair(partner, station)
            left.monitor.queue(STATION, [attrs.evolve(sent, break_at=5000)])
            converse(left, right)
            (broken,) = left.reported(FileBroken)
            self.assertEqual((broken.sending, broken.position), (True, position))
            (partial,) = right.reported(FileBroken)
            self.assertEqual((partial.sending, partial.position), (False, position))
            self.assertEqual([event.reason for event in right.reported(SessionEnded)], [None])
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
        self.assertEqual([event.reason for event in left.reported(SessionEnded)], [EsidReason.NORMAL])

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


class JudgeTests(SynchronousTestCase):
    """What an entity does with a peer that breaks the rules."""

    def listening(self, **settings: int) -> Entity:
        """A station that waits for the Speaker's commands."""
        entity = Entity(Role.RESPONDER, Settings(code=STATION), UserMonitor(MemoryStore()))
        partner = Entity(Role.INITIATOR, Settings(code=PARTNER, **settings), UserMonitor(MemoryStore()))  # type: ignore[arg-type] # numbers only
        partner.receive(entity.take())
        entity.receive(partner.take())
        self.assertIs(entity.state, State.LISTENER)
        entity.take()
        return entity

    def receiving(self, **settings: int) -> Entity:
        """A station in the middle of a file."""
        entity = self.listening(**settings)
        start = commands.SFID(
            dsn="X", date=20261120, time=1437040001, dest=STATION, orig=PARTNER, fmt="U", lrecl=0, fsiz=0, osiz=0,
            rest=0, sec=0, ciph=0, comp=0, env=0, sign="N", desc="",
        )  # fmt: skip
        entity.receive(frame(encode(start)))
        self.assertIs(entity.state, State.RECEIVING)
        entity.take()
        return entity

    def refused(self, entity: Entity, said: bytes, reason: EsidReason) -> None:
        """The octets end the session with this reason, and nothing behind them counts."""
        entity.receive(said + frame(b"R"))
        self.assertEqual(entity.ended and entity.ended.reason, reason)
        self.assertEqual(entity.take()[4:7], b"F%02d" % reason)
        entity.receive(frame(b"R"))
        self.assertEqual(entity.take(), b"")

    def test_every_rule(self) -> None:
        """A header, a command, a field, a state, a credit and a subrecord that are wrong each have their reason."""
        for said, reason in (
            (b"\x20\x00\x00\x05R", EsidReason.COMMAND_NOT_RECOGNISED),
            (b"\x10\xff\xff\xff", EsidReason.EXCHANGE_BUFFER_SIZE_ERROR),
            (frame(b"Z"), EsidReason.COMMAND_NOT_RECOGNISED),
            (frame(b"RR"), EsidReason.EXCHANGE_BUFFER_SIZE_ERROR),
            (frame(b"P"), EsidReason.PROTOCOL_VIOLATION),
            (frame(b"D\x01x"), EsidReason.PROTOCOL_VIOLATION),
            (frame(b"E" + b"x" * 110), EsidReason.COMMAND_CONTAINED_INVALID_DATA),
        ):
            self.refused(self.listening(), said, reason)
        for said, reason in (
            (frame(b"D\x05x"), EsidReason.COMMAND_CONTAINED_INVALID_DATA),
            (frame(b"D\x45x"), EsidReason.PROTOCOL_VIOLATION),
            (frame(b"D" + b"\x3f" + bytes(63) + b"\x45x"), EsidReason.PROTOCOL_VIOLATION),
            (frame(b"R"), EsidReason.PROTOCOL_VIOLATION),
        ):
            self.refused(self.receiving(), said, reason)

    def test_wrong_answer_to_the_challenge(self) -> None:
        """A peer that answers the challenge wrongly is told 11."""
        settings = Settings(code=STATION, authentication=True)
        entity = Entity(Role.RESPONDER, settings, UserMonitor(MemoryStore()))
        partner = Entity(Role.INITIATOR, Settings(code=PARTNER, authentication=True), UserMonitor(MemoryStore()))
        partner.receive(entity.take())
        entity.receive(partner.take())
        partner.receive(entity.take())
        entity.receive(partner.take())
        self.assertIs(entity.state, State.AWAIT_AURP)
        entity.take()
        self.refused(entity, frame(b"S" + bytes(20)), EsidReason.INVALID_CHALLENGE_RESPONSE)

    def test_challenge_of_another_scheme(self) -> None:
        """A challenge that is not 20 octets in the clear is none that this kit could answer."""
        entity = Entity(Role.INITIATOR, Settings(code=PARTNER, authentication=True), UserMonitor(MemoryStore()))
        station = Entity(Role.RESPONDER, Settings(code=STATION, authentication=True), UserMonitor(MemoryStore()))
        entity.receive(station.take())
        station.receive(entity.take())
        entity.receive(station.take())
        self.assertIs(entity.state, State.AWAIT_AUCH)
        entity.take()
        self.refused(entity, frame(encode(commands.AUCH(chal=bytes(300)))), EsidReason.COMMAND_CONTAINED_INVALID_DATA)

    def test_counts_are_compared(self) -> None:
        """A file whose counts are not EFID's is refused with EFNA and not kept; the session goes on."""
        for file_format, lrecl, efid, reason in (
            ("U", 0, (0, 4), b"511"),
            ("F", 1, (2, 3), b"510"),
            ("V", 9, (2, 3), b"510"),
            ("V", 2, (1, 3), b"505"),
            ("F", 0, None, b"305"),
        ):
            entity = self.listening()
            start = commands.SFID(
                dsn="X", date=20261120, time=1437040001, dest=STATION, orig=PARTNER, fmt=file_format, lrecl=lrecl,
                fsiz=0, osiz=0, rest=0, sec=0, ciph=0, comp=0, env=0, sign="N", desc="",
            )  # fmt: skip
            entity.receive(frame(encode(start)))
            if efid is not None:
                self.assertEqual(entity.take()[4:5], b"2")
                entity.receive(frame(b"D\x03abc") + frame(encode(commands.EFID(rcnt=efid[0], ucnt=efid[1]))))
            self.assertEqual(entity.take()[4:7], reason)
            self.assertIs(entity.state, State.LISTENER)

    def sending(self, sent: VirtualFile) -> End:
        """A partner that was just told to send a file, with a credit of two buffers of 128 octets."""
        left, right = pair(Settings(code=PARTNER, buffer_size=128), Settings(code=STATION, credit=2))
        left.monitor.queue(STATION, [sent])
        while left.entity.state is not State.SENDING:
            right.entity.receive(left.entity.take())
            left.entity.receive(right.entity.take())
        return left

    def test_credit_is_kept_to(self) -> None:
        """As many DATA buffers are sent as there is credit, and more when there is new credit; then no EFID yet."""
        left = self.sending(file("FOUR", octets(4 * 125)))
        data = left.entity.take()
        self.assertEqual((len(data), data[4:5]), (2 * 132, b"D"))
        self.assertEqual(left.entity.take(), b"")
        left.entity.receive(frame(b"C  "))
        self.assertEqual(len(left.entity.take()), 2 * 132)
        self.assertEqual(left.entity.take(), b"")
        left.entity.receive(frame(b"C  "))
        self.assertEqual(left.entity.take()[4:5], b"T")

    def test_credit_given_in_vain(self) -> None:
        """A CDT while there is credit left is an error."""
        left = self.sending(file("THREE", octets(3 * 125)))
        left.entity.take(1)
        self.refused(left.entity, frame(b"C  "), EsidReason.PROTOCOL_VIOLATION)

    def test_credit_that_crosses_efid(self) -> None:
        """A CDT that comes when EFID has left already is not an error."""
        left = self.sending(file("ONE", b"x"))
        left.entity.take()
        self.assertIs(left.entity.state, State.CLOSING)
        left.entity.receive(frame(b"C  "))
        self.assertIs(left.entity.state, State.CLOSING)

    def test_restart_position_behind_the_offer(self) -> None:
        """An SFPA beyond the offered position is an error."""
        left, right = pair(Settings(code=PARTNER), Settings(code=STATION))
        left.monitor.queue(STATION, FILES[5:6])
        left.entity.receive(right.entity.take())
        right.entity.receive(left.entity.take())
        left.entity.receive(right.entity.take())
        left.entity.take()
        self.refused(left.entity, frame(encode(commands.SFPA(acnt=1))), EsidReason.PROTOCOL_VIOLATION)
        self.assertIs(left.monitor.next_file(STATION), FILES[5])

    def test_esid_of_the_peer(self) -> None:
        """An ESID ends the session in any state, in the layout of any level."""
        for said in (frame(b"F99005Hello\r"), frame(b"F99\r")):
            for entity in (self.listening(), self.receiving()):
                entity.receive(said)
                assert entity.ended is not None
                self.assertEqual((entity.ended.by, entity.ended.reason), (By.PEER, EsidReason.UNSPECIFIED_ABORT))
                self.assertIn(entity.ended.text, ("Hello", ""))
                self.assertEqual(entity.take(), b"")
