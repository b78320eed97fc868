"""The session monitor: what passes, what does not, and when that is known."""

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.codec import encode
from smartproxy.oftp2.commands import AUCH, AURP, CD, CDT, EFID, EFNA, EFPA, ESID, RTR, SECD, SFNA, SFPA, Command
from smartproxy.oftp2.errors import (
    AuthenticationMismatch,
    BadField,
    BadLength,
    BadSubrecord,
    CompressionRefused,
    CreditExceeded,
    Incompatible,
    ProtocolError,
    RestartRefused,
    StreamHeaderError,
    UnexpectedCommand,
    UnknownCommand,
)
from smartproxy.oftp2.judgement import EXCERPT_OCTETS, Judgement, Observation, excerpt
from smartproxy.oftp2.monitor import Ceilings, Monitor
from smartproxy.oftp2.roles import Level, Profile, Role
from smartproxy.oftp2.stream import SSRM_BUFFER, frame
from smartproxy.oftp2.witness import SessionPhase, State
from tests.unit.samples import PARTNER, STATION, eerp, nerp, samples, sfid, ssid

I, R = Role.INITIATOR, Role.RESPONDER  # noqa: E741 - the RFC's letters


def framed(command: Command | bytes, level: Level = Level.OFTP_2_0) -> bytes:
    """Return a command, or an Exchange Buffer, as it goes over the wire."""
    return frame(command if isinstance(command, bytes) else encode(command, level))


class Conversation:
    """A monitored session in which every buffer must pass as it came."""

    def __init__(self, **options: Any) -> None:
        """Begin before SSRM."""
        self.monitor = Monitor(options.pop("profile", Profile.DEFAULT), **options)
        self.level = Level.OFTP_2_0
        self.seen: list[Observation] = []

    def pass_(self, sender: Role, *commands: Command | bytes) -> "Conversation":
        """Send commands that must pass."""
        for command in commands:
            octets = framed(command, self.level)
            judgement = self.monitor.judge(sender, octets)
            if judgement.error is not None:
                raise judgement.error
            if judgement.octets != octets or judgement.discarded:
                raise AssertionError(f"{command!r} did not pass: {judgement}")
            self.seen += judgement.observations
        return self

    def opened(
        self, initiator: dict[str, Any] | None = None, responder: dict[str, Any] | None = None
    ) -> "Conversation":
        """Exchange SSRM and SSIDs."""
        self.pass_(R, SSRM_BUFFER[4:]).pass_(I, ssid(PARTNER, **(initiator or {})))
        self.pass_(R, ssid(STATION, **(responder or initiator or {})))
        assert self.monitor.agreed is not None
        self.level = self.monitor.agreed.level
        return self

    def sending(self, **terms: Any) -> "Conversation":
        """Go on to where the Initiator sends a file."""
        return self.opened(terms).pass_(I, sfid(self.level)).pass_(R, SFPA(acnt=0))

    def numbers(self) -> list[int]:
        """Return the numbers of all departures so far."""
        return [anomaly.number for seen in self.seen for anomaly in seen.anomalies]


class MonitorCase(SynchronousTestCase):
    """How refusals are asserted."""

    def refuse(
        self,
        conversation: Conversation,
        sender: Role,
        octets: Command | bytes,
        kind: type[ProtocolError],
        rule: str,
        offset: int = 4,
    ) -> ProtocolError:
        """Assert that a buffer is refused with the octet at ``offset``: that octet's arrival, and no earlier."""
        wire = octets if isinstance(octets, bytes) else framed(octets, conversation.level)
        monitor = conversation.monitor
        before = monitor.counters[sender].octets
        state = monitor.state.name
        for at in range(offset):
            self.assertEqual(monitor.judge(sender, wire[at : at + 1]), Judgement(), at)
        self.assertEqual(monitor.held(sender), offset)
        judgement = monitor.judge(sender, wire[offset:])
        error = judgement.error
        assert error is not None
        self.assertEqual(judgement.octets, b"")
        self.assertIsInstance(error, kind)
        self.assertEqual((error.rule, error.offset, error.sender, error.state), (rule, offset, sender, state))
        self.assertEqual(error.position, before)
        self.assertIs(monitor.error, error)
        self.assertEqual(monitor.held(sender), 0)
        for role in Role:
            self.assertEqual(monitor.judge(role, b"\x10\x00"), Judgement(error=error))
        return error


class Excerpts(MonitorCase):
    """What is shown of a wrong buffer."""

    def excerpts(self, talk: Callable[[], Conversation], wire: bytes) -> str:
        """The excerpt of a wrong buffer, which is the same however it is cut."""
        found = set()
        for size in (1, 2, 7, len(wire)):
            monitor = talk().monitor
            shown = [monitor.judge(I, wire[at : at + size]).excerpt for at in range(0, len(wire), size)]
            found.add("".join(shown))
        (one,) = found
        return one

    def test_it_ends_with_the_wrong_octet(self) -> None:
        """From the header to the wrong octet, at most 64."""
        greeted = lambda: Conversation().pass_(R, SSRM_BUFFER[4:])  # noqa: E731 - an expression
        self.assertEqual(self.excerpts(greeted, b"\x11\x00\x00\x41X5"), "11")
        self.assertEqual(self.excerpts(greeted, b"\x10\x00\x00\x41D5"), "1000004144")
        late = framed(ssid()).replace(b"\r", b"x")
        shown = self.excerpts(greeted, late)
        self.assertEqual(shown, late[1:31].hex() + "**" * 8 + late[39:].hex())
        self.assertEqual(len(shown), 2 * EXCERPT_OCTETS)

    def test_content_of_files_is_hidden(self) -> None:
        """Of DATA, the header, the command octet and the wrong octet are shown."""
        shown = self.excerpts(lambda: Conversation().sending(), framed(b"D\x03abc\x05x"))
        self.assertEqual(shown, "1000000b44" + "**" * 4 + "05")

    def test_the_answer_to_a_challenge_is_hidden(self) -> None:
        """No octet of AURPRSP is shown, whatever is wrong with the command."""
        error = BadLength(rule="x", message="", section="", command="AURP", offset=24)
        self.assertEqual(excerpt(b"\x10\x00\x00\x19S" + b"h" * 20, error), "1000001953" + "**" * 20)


class SessionTests(MonitorCase):
    """Whole sessions pass."""

    def test_a_session(self) -> None:
        """A file, the turn, an end response, the turn, the end: every state on the way is the RFC's."""
        talk = (
            Conversation().opened().pass_(I, sfid()).pass_(R, SFPA(acnt=0)).pass_(I, b"D\x82ab", EFID(rcnt=0, ucnt=2))
        )
        talk.pass_(R, EFPA(cd="Y")).pass_(I, CD()).pass_(R, eerp()).pass_(I, RTR()).pass_(R, nerp()).pass_(I, RTR())
        talk.pass_(R, CD()).pass_(I, ESID(reas=0, reast=""))
        self.assertEqual(
            [(seen.sender, seen.command, seen.before, seen.state) for seen in talk.seen],
            [
                (R, "SSRM", State.AWAIT_SSRM, State.AWAIT_I_SSID),
                (I, "SSID", State.AWAIT_I_SSID, State.AWAIT_R_SSID),
                (R, "SSID", State.AWAIT_R_SSID, State.IDLE),
                (I, "SFID", State.IDLE, State.OPENING),
                (R, "SFPA", State.OPENING, State.SENDING),
                (I, "EFID", State.SENDING, State.CLOSING),
                (R, "EFPA", State.CLOSING, State.AWAIT_CD),
                (I, "CD", State.AWAIT_CD, State.IDLE),
                (R, "EERP", State.IDLE, State.AWAIT_RTR),
                (I, "RTR", State.AWAIT_RTR, State.IDLE),
                (R, "NERP", State.IDLE, State.AWAIT_RTR),
                (I, "RTR", State.AWAIT_RTR, State.IDLE),
                (R, "CD", State.IDLE, State.IDLE_TURNED),
                (I, "ESID", State.IDLE_TURNED, State.ENDING),
            ],
        )
        self.assertEqual(talk.numbers(), [])
        self.assertTrue(talk.monitor.ended)
        self.assertIs(talk.monitor.phase, SessionPhase.ENDED)

    def test_levels(self) -> None:
        """A session passes at every level, in its layouts."""
        for lev in (1, 2, 4):
            for profile in Profile:
                talk = Conversation(profile=profile).sending(lev=lev)
                self.assertIs(talk.monitor.agreed and talk.monitor.agreed.level, Level(lev))
                talk.pass_(I, EFID(rcnt=0, ucnt=0)).pass_(R, EFPA(cd="N")).pass_(I, eerp(Level(lev)))
                talk.pass_(R, RTR()).pass_(I, CD()).pass_(R, ESID(reas=0))
                self.assertEqual(talk.numbers(), [])

    def test_authentication(self) -> None:
        """The six commands of secure authentication pass in their order, and in no other."""
        steps: list[tuple[Role, Command]] = [
            (I, SECD()),
            (R, AUCH(chal=b"c" * 40)),
            (I, AURP(rsp=b"r" * 20)),
            (R, SECD()),
            (I, AUCH(chal=b"C" * 40)),
            (R, AURP(rsp=b"R" * 20)),
        ]
        for done in range(len(steps)):
            for sender in Role:
                for command in samples(Level.OFTP_2_0).values():
                    talk = Conversation().opened({"auth": "Y"})
                    for role, step in steps[:done]:
                        self.assertIs(talk.monitor.phase, SessionPhase.AUTHENTICATING)
                        talk.pass_(role, step)
                    if (sender, type(command)) == (steps[done][0], type(steps[done][1])) or command.NAME == "ESID":
                        talk.pass_(sender, command)
                    else:
                        self.refuse(talk, sender, command, UnexpectedCommand, "state.command")
        talk = Conversation().opened({"auth": "Y"})
        for role, step in steps:
            talk.pass_(role, step)
        self.assertEqual((talk.monitor.state, talk.monitor.speaker), (State.IDLE, I))
        self.assertEqual(talk.seen[5].fields["AURPRSP"], "***")

    def test_refused_files(self) -> None:
        """After SFNA and EFNA the Speaker goes on."""
        talk = Conversation().opened().pass_(I, sfid()).pass_(R, SFNA(reas=13, rrtr="N", reast="twice"))
        self.assertEqual(talk.monitor.state, State.IDLE)
        talk.pass_(I, sfid()).pass_(R, SFPA(acnt=0)).pass_(I, EFID(rcnt=0, ucnt=0))
        talk.pass_(R, EFNA(reas=11, reast="")).pass_(I, CD())
        self.assertEqual(talk.monitor.counters[I].files, 0)

    def test_everything_in_one_read(self) -> None:
        """Any number of buffers in one piece pass in one piece."""
        talk = Conversation().opened({"cred": 2})
        talk.pass_(I, sfid()).pass_(R, SFPA(acnt=0))
        octets = framed(b"D\x02ab") * 2
        self.assertEqual(talk.monitor.judge(I, octets).octets, octets)
        judgement = talk.monitor.judge(R, framed(CDT()) + framed(ESID(reas=99, reast="")) + b"rest")
        self.assertEqual(judgement.octets, framed(CDT()) + framed(ESID(reas=99, reast="")))
        self.assertEqual(judgement.discarded, 4)

    def test_what_is_valid_passes_before_what_is_not(self) -> None:
        """Buffers in front of a violation are forwarded, wherever the stream was cut."""
        good = framed(b"D\x02ab") + framed(b"D\x01c")
        for cut in range(len(good) + 1):
            talk = Conversation().sending()
            first = talk.monitor.judge(I, good[:cut])
            second = talk.monitor.judge(I, good[cut:] + framed(b"D\x09d"))
            self.assertEqual(first.octets + second.octets, good)
            assert second.error is not None
            self.assertEqual((second.error.offset, second.error.position), (5, talk.monitor.counters[I].octets))


class TransferTests(MonitorCase):
    """What is known about a file."""

    def test_course(self) -> None:
        """The transfer tells whose file it is, how far it is, and how much credit is left."""
        talk = Conversation().opened({"rest": "Y", "cred": 3})
        self.assertIs(talk.monitor.transfer, None)
        talk.pass_(I, sfid(rest=7)).pass_(R, SFPA(acnt=5))
        transfer = talk.monitor.transfer
        assert transfer is not None
        self.assertEqual((transfer.sender, transfer.dataset_name, transfer.format), (I, "ORDERS.1", "U"))
        self.assertEqual((transfer.date, transfer.time), (20261120, 1234560001))
        self.assertEqual((transfer.destination, transfer.originator), (STATION, PARTNER))
        self.assertEqual((transfer.offered, transfer.restart, transfer.credit), (7, 5, 3))
        talk.pass_(I, b"D\x02ab", b"D\x03abc")
        self.assertEqual((transfer.octets, transfer.credit), (5, 1))
        talk.pass_(I, b"D\x80").pass_(R, CDT())
        self.assertEqual(transfer.credit, 3)
        talk.pass_(I, EFID(rcnt=0, ucnt=5 * 1024 + 5)).pass_(R, EFPA(cd="N"))
        self.assertIs(talk.monitor.transfer, None)
        self.assertIs(talk.seen[-1].transfer, transfer)
        self.assertTrue(transfer.accepted)
        self.assertEqual(talk.numbers(), [])

    def test_counters(self) -> None:
        """Octets and buffers are counted as forwarded, files as confirmed, for their sender."""
        talk = Conversation().sending().pass_(I, b"D\x82ab", EFID(rcnt=0, ucnt=2)).pass_(R, EFPA(cd="N"))
        talk.pass_(I, CD()).pass_(R, sfid()).pass_(I, SFPA(acnt=0)).pass_(R, EFID(rcnt=0, ucnt=0))
        talk.pass_(I, EFPA(cd="N")).pass_(R, eerp()).pass_(I, RTR())
        counters = talk.monitor.counters
        self.assertEqual((counters[I].files, counters[R].files), (1, 1))
        self.assertEqual((counters[I].buffers, counters[R].buffers), (8, 7))
        self.assertEqual(counters[I].octets, 65 + 169 + 8 + 39 + 5 + 22 + 6 + 5)

    def test_counters_of_one_read(self) -> None:
        """What stands behind another command in one read is counted once."""
        talk = Conversation().sending()
        before = talk.monitor.counters[I].octets
        octets = framed(b"D\x02ab") * 3 + framed(EFID(rcnt=0, ucnt=6))
        self.assertEqual(talk.monitor.judge(I, octets[:9]).octets, octets[:8])
        self.assertEqual(talk.monitor.judge(I, octets[9:]).octets, octets[8:])
        self.assertEqual(talk.monitor.counters[I].octets - before, len(octets))
        self.assertEqual(talk.monitor.counters[I].buffers, 6)

    def test_phases(self) -> None:
        """The phase follows the state."""
        talk = Conversation()
        self.assertIs(talk.monitor.phase, SessionPhase.AWAIT_SSRM)
        talk.pass_(R, SSRM_BUFFER[4:])
        self.assertIs(talk.monitor.phase, SessionPhase.AWAIT_SSID)
        self.assertIs(Conversation().opened().monitor.phase, SessionPhase.IDLE)
        self.assertIs(Conversation().sending().monitor.phase, SessionPhase.TRANSFER)

    def test_observed_data(self) -> None:
        """DATA is observed if that is asked for, without its content."""
        talk = (
            Conversation(observe_data=True)
            .sending(sdeb=128)
            .pass_(I, b"D\x82ab", b"D\x3f" + bytes(63) + b"\x3f" + bytes(63))
        )
        seen = talk.seen[-2]
        self.assertEqual((seen.command, seen.value, seen.length, dict(seen.fields)), ("DATA", None, 4, {}))
        self.assertEqual([anomaly.number for anomaly in talk.seen[-1].anomalies], [3])
        self.assertIs(seen.transfer, talk.monitor.transfer)
        self.assertEqual(Conversation().sending().pass_(I, b"D\x82ab").seen[-1].command, "SFPA")


class RefusalTests(MonitorCase):
    """Each kind of violation, with the octet that makes it one."""

    def test_stream_header(self) -> None:
        """Version, flags and length are judged before anything is waited for."""
        talk = Conversation().opened
        self.refuse(talk(), I, b"\x20\x00\x00\x05", StreamHeaderError, "header.version", 0)
        self.refuse(Conversation().opened(), I, b"\x11\x00\x00\x05", StreamHeaderError, "header.flags", 0)
        self.refuse(Conversation().opened(), I, b"\x10\xff\xff\xff", BadLength, "length.header", 1)
        self.refuse(Conversation().opened(), R, b"\x10\x00\x00\x04", BadLength, "length.header", 3)

    def test_ceilings(self) -> None:
        """Before the SSIDs nothing longer than an ESID is waited for, afterwards nothing longer than agreed or set."""
        self.refuse(Conversation(), R, b"\x10\x00\x03\xf3", BadLength, "length.header", 3)
        talk = Conversation().pass_(R, SSRM_BUFFER[4:])
        self.refuse(talk, I, b"\x10\x00\x04\x00", BadLength, "length.header", 2)
        self.refuse(Conversation().opened(), I, b"\x10\x00\x40\x05", BadLength, "length.header", 3)
        talk = Conversation().opened({"sdeb": 99999})
        self.refuse(talk, I, b"\x10\x01\x86\xa5", BadLength, "length.header", 3)
        talk = Conversation(profile=Profile.STRICT).opened({"sdeb": 99999})
        self.refuse(talk, I, b"\x10\x01\x86\xa4", BadLength, "length.header", 3)
        talk = Conversation(ceilings=Ceilings(command=200)).opened({"sdeb": 128})
        self.refuse(talk, I, b"\x10\x00\x00\xcd", BadLength, "length.header", 3)
        talk = Conversation(ceilings=Ceilings(command=200)).opened()
        error = self.refuse(talk, I, framed(eerp(sig=bytes(91))), BadLength, "length.ceiling")
        self.assertEqual((error.command, error.section), ("EERP", "5.3.13"))
        Conversation(ceilings=Ceilings(command=200)).opened().pass_(I, eerp(sig=bytes(90)))

    def test_a_huge_ceiling(self) -> None:
        """No ceiling is above what the protocol allows."""
        talk = Conversation(ceilings=Ceilings(command=1 << 20)).opened()
        self.refuse(talk, I, b"\x10\x01\x86\xa4", BadLength, "length.header", 3)

    def test_unknown_command(self) -> None:
        """An octet that names no command of the level is refused as such, in every state."""
        self.refuse(Conversation(), R, frame(b"Z"), UnknownCommand, "command.unknown")
        self.refuse(Conversation().opened(), I, frame(b"\x00"), UnknownCommand, "command.unknown")
        self.refuse(Conversation().opened({"lev": 4}), I, frame(b"J"), UnknownCommand, "command.unknown")
        self.refuse(Conversation().opened({"lev": 2}), I, frame(b"N" * 128), UnknownCommand, "command.unknown")

    def test_out_of_turn(self) -> None:
        """A command that is not this sender's turn is refused with its first octet."""
        error = self.refuse(Conversation(), I, ssid(), UnexpectedCommand, "state.command")
        self.assertEqual((error.command, error.section), ("SSID", "9"))
        self.refuse(Conversation(), R, ESID(reas=8, reast=""), UnexpectedCommand, "state.command")
        self.refuse(Conversation().opened(), R, sfid(), UnexpectedCommand, "state.command")
        self.refuse(Conversation().opened(), I, frame(b"D\x01a"), UnexpectedCommand, "state.command")
        talk = Conversation().opened().pass_(I, CD())
        self.refuse(talk, R, CD(), UnexpectedCommand, "state.command")

    def test_direction(self) -> None:
        """A file against the agreed direction is refused."""
        self.refuse(Conversation().opened({"sr": "R"}, {"sr": "S"}), I, sfid(), UnexpectedCommand, "mode.direction")
        talk = Conversation().opened({"sr": "S"}, {"sr": "R"}).pass_(I, sfid()).pass_(R, SFPA(acnt=0))
        talk.pass_(I, EFID(rcnt=0, ucnt=0)).pass_(R, EFPA(cd="Y")).pass_(I, CD()).pass_(R, eerp()).pass_(I, RTR())
        error = self.refuse(talk, R, sfid(), UnexpectedCommand, "mode.direction")
        self.assertEqual(error.command, "SFID")

    def test_length_against_command(self) -> None:
        """A length that the command cannot have is refused with the command octet."""
        self.refuse(Conversation().opened(), I, frame(b"RR"), BadLength, "length.command")
        self.refuse(Conversation(), R, frame(b"I"), BadLength, "length.command")

    def test_answer_against_offer(self) -> None:
        """The Responder's SSID is judged against the offer, field by field."""
        for offer, answer, kind, offset in (
            ({"sr": "S"}, {"sr": "S"}, Incompatible, 44),
            ({"spec": "Y"}, {"spec": "Y"}, Incompatible, 47),
            ({"cred": 3}, {"cred": 4}, CreditExceeded, 50),
            ({"auth": "Y"}, {"auth": "N"}, AuthenticationMismatch, 51),
            ({"auth": "Y"}, {"lev": 4}, AuthenticationMismatch, 5),
        ):
            talk = Conversation().pass_(R, SSRM_BUFFER[4:]).pass_(I, ssid(**offer))
            rule = {CreditExceeded: "credit", AuthenticationMismatch: "authentication"}.get(kind)
            rule = rule or ("direction" if "sr" in offer else "special_logic")
            self.refuse(talk, R, ssid(STATION, **answer), kind, f"negotiation.{rule}", offset)

    def test_restart(self) -> None:
        """A restart has to be agreed, and the answer may not be behind the offer."""
        self.refuse(Conversation().opened(), I, sfid(rest=1), RestartRefused, "restart.not_agreed", 4 + 154)
        talk = Conversation().opened({"rest": "Y"}).pass_(I, sfid(rest=123))
        self.refuse(talk, R, SFPA(acnt=130), RestartRefused, "restart.beyond_offer", 4 + 17)
        talk = Conversation().opened({"rest": "Y"}).pass_(I, sfid(rest=99999999999999999)).pass_(R, SFPA(acnt=10**16))
        self.assertEqual(talk.monitor.state, State.SENDING)

    def test_digits_before_limits(self) -> None:
        """A number that holds something else than digits is invalid data (06), whatever limit its digits break."""
        for credit, offset in ((b"9  ", 49), (b"99 ", 50), (b"9A1", 49)):
            talk = Conversation().pass_(R, SSRM_BUFFER[4:]).pass_(I, ssid(cred=3))
            wire = framed(ssid(STATION, cred=3))
            wire = wire[:48] + credit + wire[51:]
            error = self.refuse(talk, R, wire, BadField, "field.number", offset)
            self.assertEqual((error.reason, error.field), (6, "SSIDCRED"))
        talk = Conversation().opened({"rest": "Y"}).pass_(I, sfid(rest=123))
        self.refuse(talk, R, framed(b"29" + b" " * 16), BadField, "field.number", 4 + 2)
        wire = framed(sfid(rest=1))
        wire = wire[: 4 + 138] + b"7" + b" " * 16 + wire[4 + 155 :]
        self.refuse(Conversation().opened(), I, wire, BadField, "field.number", 4 + 139)

    def test_credit(self) -> None:
        """One DATA more than the window is refused, and a CDT as long as there is credit."""
        for window in (1, 2, 64, 999):
            talk = Conversation().sending(cred=window).pass_(I, *[b"D\x01a"] * window)
            error = self.refuse(talk, I, frame(b"D\x01a"), CreditExceeded, "credit.exceeded")
            self.assertEqual((error.command, error.section), ("DATA", "4.4.1"))
            talk = Conversation().sending(cred=window).pass_(I, *[b"D\x01a"] * (window - 1))
            self.refuse(talk, R, CDT(), CreditExceeded, "credit.not_used_up")

    def test_credit_in_one_read(self) -> None:
        """The window counts inside one read too."""
        talk = Conversation().sending(cred=20)
        judgement = talk.monitor.judge(I, framed(b"D\x01a") * 21)
        self.assertEqual(judgement.octets, framed(b"D\x01a") * 20)
        self.assertIsInstance(judgement.error, CreditExceeded)

    def test_buffer_size(self) -> None:
        """A DATA longer than agreed is refused before it is waited for; one octet more is tolerated, and noted once."""
        two_more = b"D" + b"\x00" * 129
        self.refuse(Conversation().sending(sdeb=128), I, frame(two_more), BadLength, "length.data")
        strict = Conversation(profile=Profile.STRICT).sending(sdeb=128)
        self.refuse(strict, I, frame(two_more[:-1]), BadLength, "length.data")
        talk = Conversation().sending(sdeb=128).pass_(I, two_more[:-1], two_more[:-1], EFID(rcnt=0, ucnt=0))
        self.assertEqual(talk.numbers(), [3, 6])
        assert talk.monitor.transfer is not None
        self.assertEqual(talk.monitor.transfer.oversize, 2)

    def test_oversize_in_pieces(self) -> None:
        """The departure is noted the same if the buffer comes in pieces."""
        talk = Conversation().sending(sdeb=128)
        octets = framed(b"D" + b"\x80" * 128)
        for at in range(len(octets)):
            talk.monitor.judge(I, octets[at : at + 1])
        talk.pass_(I, EFID(rcnt=0, ucnt=0))
        self.assertEqual(talk.numbers(), [3])

    def test_subrecords(self) -> None:
        """A wrong chain is refused with the header that makes it wrong, wherever the buffer stands in the read."""
        self.refuse(Conversation().sending(), I, frame(b"D\x02ab\x03cd"), BadSubrecord, "subrecord.overrun", 8)
        self.refuse(Conversation().sending(), I, frame(b"D\x41a"), CompressionRefused, "compression.not_agreed", 5)
        Conversation().sending(cmpr="Y").pass_(I, b"D\xffa", EFID(rcnt=0, ucnt=63))
        talk = Conversation().sending()
        judgement = talk.monitor.judge(I, framed(b"D\x01a") + framed(b"D\x02ab\x03cd"))
        assert judgement.error is not None
        self.assertEqual((judgement.error.offset, judgement.error.position), (8, 65 + 169 + 7))

    def test_field(self) -> None:
        """A field is refused with the octet that makes it wrong."""
        octets = framed(sfid()).replace(b"ORDERS.1", b"../etc/x")
        error = self.refuse(Conversation().opened(), I, octets, BadField, "field.dataset_name", 6)
        self.assertEqual((error.command, error.field, error.section), ("SFID", "SFIDDSN", "5.3.3"))

    def test_record_count_without_records(self) -> None:
        """EFID of a file without records counts none; of one with records it may."""
        self.refuse(Conversation().sending(), I, EFID(rcnt=1, ucnt=0), BadField, "field.record_count", 4 + 17)
        talk = Conversation().opened().pass_(I, sfid(fmt="F", lrecl=80)).pass_(R, SFPA(acnt=0))
        talk.pass_(I, EFID(rcnt=1, ucnt=0))
        self.assertEqual(talk.numbers(), [])


class ToleranceTests(MonitorCase):
    """What the default profile lets pass between commands; each with its number."""

    def test_counts(self) -> None:
        """Numbers 6 and 25: counts and flags at the file's end are noted in both profiles, never refused."""
        for profile in Profile:
            talk = Conversation(profile=profile).sending().pass_(I, b"D\x02ab", EFID(rcnt=0, ucnt=3))
            self.assertEqual(talk.numbers(), [6, 25])
            talk = Conversation(profile=profile).sending().pass_(I, b"D\x82ab\x00", b"D\x00", EFID(rcnt=0, ucnt=2))
            self.assertEqual(talk.numbers(), [])

    def test_late_credit(self) -> None:
        """Number 10: CDT may come until the file is answered, once, if the credit was used up."""
        for profile in Profile:
            talk = Conversation(profile=profile).sending(cred=1).pass_(I, b"D\x80", EFID(rcnt=0, ucnt=0))
            talk.pass_(R, CDT())
            self.refuse(talk, R, CDT(), CreditExceeded, "credit.not_used_up")
        talk = Conversation().sending(cred=2).pass_(I, b"D\x80", EFID(rcnt=0, ucnt=0))
        self.refuse(talk, R, CDT(), CreditExceeded, "credit.not_used_up")
        talk = Conversation().sending(cred=1).pass_(I, b"D\x80", EFID(rcnt=0, ucnt=0)).pass_(R, EFPA(cd="N"))
        self.refuse(talk, R, CDT(), UnexpectedCommand, "state.command")

    def test_credit_that_arrives_while_the_file_ends(self) -> None:
        """A CDT that has begun when EFID is complete is still a CDT."""
        talk = Conversation().sending(cred=1).pass_(I, b"D\x80")
        credit = framed(CDT())
        self.assertEqual(talk.monitor.judge(R, credit[:6]), Judgement())
        talk.pass_(I, EFID(rcnt=0, ucnt=0))
        self.assertEqual(talk.monitor.judge(R, credit[6:]).octets, credit)
        self.assertEqual(talk.monitor.state, State.CLOSING)

    def test_file_without_credit_left(self) -> None:
        """A file may end when its credit is used up."""
        for profile in Profile:
            talk = Conversation(profile=profile).sending(cred=1).pass_(I, b"D\x81a", EFID(rcnt=0, ucnt=1))
            self.assertEqual(talk.numbers(), [])

    def test_premature_normal_end(self) -> None:
        """Number 4: ESID 00 passes from either side once the SSIDs are exchanged, and confirms nothing."""
        for sender in Role:
            talk = Conversation().sending().pass_(I, EFID(rcnt=0, ucnt=0)).pass_(sender, ESID(reas=0, reast="OK"))
            self.assertEqual(talk.numbers(), [4])
            self.assertEqual(talk.monitor.counters[I].files, 0)
            transfer = talk.seen[-1].transfer
            self.assertFalse(transfer is None or transfer.accepted)
            strict = Conversation(profile=Profile.STRICT).sending()
            self.refuse(strict, sender, ESID(reas=0, reast=""), UnexpectedCommand, "state.normal_end", 6)

    def test_normal_end_before_the_ssids(self) -> None:
        """A session that was not set up cannot end normally."""
        for sender in Role:
            talk = Conversation().pass_(R, SSRM_BUFFER[4:])
            self.refuse(talk, sender, ESID(reas=0, reast=""), UnexpectedCommand, "state.normal_end", 6)

    def test_refusal_instead_of_ssid(self) -> None:
        """Number 18: ESID instead of SSID passes in either layout."""
        for profile in Profile:
            for octets in (b"F04\r", b"F04002no\r"):
                talk = Conversation(profile=profile).pass_(R, SSRM_BUFFER[4:]).pass_(I, ssid()).pass_(R, octets)
                self.assertEqual((talk.numbers(), talk.monitor.ended), ([], True))

    def test_after_the_end(self) -> None:
        """Number 1: what comes after ESID is counted and dropped, in both directions, unfinished buffers included."""
        for profile in Profile:
            talk = Conversation(profile=profile).sending()
            talk.monitor.judge(R, framed(CDT())[:3])
            judgement = talk.monitor.judge(I, framed(ESID(reas=99, reast="")) + b"\x10\x00\x00\x04")
            self.assertEqual((judgement.octets, judgement.discarded), (framed(ESID(reas=99, reast="")), 4))
            self.assertEqual(talk.monitor.held(R), 0)
            self.assertEqual(talk.monitor.judge(R, b"\xff" * 9), Judgement(discarded=9))
            self.assertEqual(talk.monitor.judge(I, b"x"), Judgement(discarded=1))
            self.assertEqual([talk.monitor.counters[role].discarded for role in (I, R)], [5, 12])

    def test_the_end_in_pieces(self) -> None:
        """What follows the last piece of an ESID is dropped."""
        talk = Conversation().opened()
        octets = framed(ESID(reas=99, reast=""))
        self.assertEqual(talk.monitor.judge(I, octets[:7]), Judgement())
        judgement = talk.monitor.judge(I, octets[7:] + b"abc")
        self.assertEqual((judgement.octets, judgement.discarded), (octets, 3))


class HeldTests(MonitorCase):
    """What is held back, and for whom an ESID would be laid out."""

    def test_held(self) -> None:
        """Only the unfinished buffer is held, per direction."""
        talk = Conversation().sending()
        octets = framed(b"D\x3f" + bytes(63)) + framed(b"D\x01a")
        self.assertEqual(talk.monitor.judge(I, octets[:-2]).octets, octets[:-7])
        self.assertEqual((talk.monitor.held(I), talk.monitor.held(R)), (5, 0))
        self.assertEqual(talk.monitor.judge(I, b""), Judgement())
        self.assertEqual(talk.monitor.judge(I, octets[-2:]).octets, octets[-7:])
        self.assertEqual(talk.monitor.held(I), 0)

    def test_level_for_esid(self) -> None:
        """Before a level is agreed the Initiator's offer counts, with its octet; 2.0 if there is none."""
        talk = Conversation()
        self.assertIs(talk.monitor.level_for_esid, Level.OFTP_2_0)
        talk.pass_(R, SSRM_BUFFER[4:])
        offer = framed(ssid(lev=2))
        talk.monitor.judge(I, offer[:5])
        self.assertIs(talk.monitor.level_for_esid, Level.OFTP_2_0)
        talk.monitor.judge(I, offer[5:6])
        self.assertIs(talk.monitor.level_for_esid, Level.OFTP_1_3)
        talk.monitor.judge(I, offer[6:])
        self.assertIs(talk.monitor.level_for_esid, Level.OFTP_1_3)
        talk.pass_(R, ssid(STATION, lev=1))
        self.assertIs(talk.monitor.level_for_esid, Level.OFTP_1_2)

    def test_level_for_esid_after_a_bad_offer(self) -> None:
        """An offer that is refused further on has still named its level."""
        talk = Conversation().pass_(R, SSRM_BUFFER[4:])
        self.refuse(
            talk, I, framed(ssid(lev=4)).replace(PARTNER.encode(), b"lowercase..."), BadField, "field.alphanumeric", 6
        )
        self.assertIs(talk.monitor.level_for_esid, Level.OFTP_1_4)

    def test_octets_of_other_types(self) -> None:
        """What is forwarded is of type bytes, whatever came."""
        talk = Conversation().sending()
        judgement = talk.monitor.judge(I, bytearray(framed(b"D\x01a")))  # type: ignore[arg-type]  # on purpose
        self.assertIs(type(judgement.octets), bytes)
