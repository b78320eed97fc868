"""Entities of the test kit keep to the rules, and end the session of a peer that breaks them."""

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2 import commands
from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Level, Profile, Role
from smartproxy.oftp2.stream import frame
from smartproxy.testing.entity import Entity
from smartproxy.testing.events import (
    By,
    FileReceived,
)
from smartproxy.testing.settings import Settings
from smartproxy.testing.states import EntityState
from smartproxy.testing.store import MemoryStore
from smartproxy.testing.user_monitor import UserMonitor
from smartproxy.testing.virtual_file import VirtualFile
from tests.unit.entities import (
    FILES,
    PARTNER,
    STATION,
    End,
    file,
    octets,
    pair,
    towards_partner,
)


class JudgeTests(SynchronousTestCase):
    """What an entity does with a peer that breaks the rules."""

    def listening(self, **settings: int) -> Entity:
        """A station that waits for the Speaker's commands."""
        entity = Entity(Role.RESPONDER, Settings(code=STATION), UserMonitor(MemoryStore()))
        partner = Entity(Role.INITIATOR, Settings(code=PARTNER, **settings), UserMonitor(MemoryStore()))  # type: ignore[arg-type] # numbers only
        partner.receive(entity.take())
        entity.receive(partner.take())
        self.assertIs(entity.state, EntityState.LISTENER)
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
        self.assertIs(entity.state, EntityState.RECEIVING)
        entity.take()
        return entity

    def refused(self, entity: Entity, said: bytes, reason: EsidReason) -> None:
        """The octets end the session with this reason, and nothing behind them counts."""
        entity.receive(said)
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
        self.assertIs(entity.state, EntityState.AWAIT_AURP)
        entity.take()
        self.refused(entity, frame(b"S" + bytes(20)), EsidReason.INVALID_CHALLENGE_RESPONSE)

    def test_challenge_of_another_scheme(self) -> None:
        """A challenge that is not 20 octets in the clear is none that this kit could answer."""
        entity = Entity(Role.INITIATOR, Settings(code=PARTNER, authentication=True), UserMonitor(MemoryStore()))
        station = Entity(Role.RESPONDER, Settings(code=STATION, authentication=True), UserMonitor(MemoryStore()))
        entity.receive(station.take())
        station.receive(entity.take())
        entity.receive(station.take())
        self.assertIs(entity.state, EntityState.AWAIT_AUCH)
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
            self.assertIs(entity.state, EntityState.LISTENER)

    def sending(self, sent: VirtualFile) -> End:
        """A partner that was just told to send a file, with a credit of two buffers of 128 octets."""
        left, right = pair(Settings(code=PARTNER, buffer_size=128), Settings(code=STATION, credit=2))
        left.monitor.queue(STATION, [sent])
        while left.entity.state is not EntityState.SENDING:
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
        self.assertIs(left.entity.state, EntityState.CLOSING)
        left.entity.receive(frame(b"C  "))
        self.assertIs(left.entity.state, EntityState.CLOSING)

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


class WitnessTests(SynchronousTestCase):
    """What entities say to each other, judged by the monitor of the proxy: two readings of one RFC."""

    def test_the_monitor_finds_nothing(self) -> None:
        """Sessions of all kinds pass the monitor's strict profile, unchanged and without an anomaly."""
        for partner, station in (
            (Settings(code=PARTNER), Settings(code=STATION)),
            (Settings(code=PARTNER, level=Level.OFTP_1_4, credit=1), Settings(code=STATION, ask_for_turn=True)),
            (Settings(code=PARTNER, level=Level.OFTP_1_3, buffer_size=128), Settings(code=STATION)),
            (Settings(code=PARTNER, level=Level.OFTP_1_2, compression=True), Settings(code=STATION, compression=True)),
            (Settings(code=PARTNER, authentication=True), Settings(code=STATION, authentication=None, credit=3)),
        ):
            ends = {Role.INITIATOR: End(Role.INITIATOR, partner), Role.RESPONDER: End(Role.RESPONDER, station)}
            ends[Role.INITIATOR].monitor.queue(STATION, FILES)
            ends[Role.RESPONDER].monitor.queue(PARTNER, towards_partner(FILES))
            witness = Monitor(Profile.STRICT)
            said = True
            while said:
                said = False
                for role, speaker in ends.items():
                    while octets_said := speaker.entity.take(5000):
                        said = True
                        judgement = witness.judge(role, octets_said)
                        self.assertIsNone(judgement.error)
                        self.assertEqual(judgement.octets, octets_said)
                        self.assertEqual([each.anomalies for each in judgement.observations if each.anomalies], [])
                        ends[role.other].entity.receive(octets_said)
            self.assertTrue(witness.ended)
            for end in ends.values():
                self.assertEqual(len(end.reported(FileReceived)), len(FILES))
