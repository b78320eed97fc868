"""Marks between the sessions of a data connection."""

import random

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.policy.outcomes import Outcome, Participant
from smartproxy.relay.events import SharedEnd
from smartproxy.tunnel.faults import Violation
from smartproxy.tunnel.marks import TICKET_OCTETS, Attach, End, Item, MarkSplitter, RawSplitter

TICKET = bytes(range(TICKET_OCTETS))


def unit(octets: bytes = b"") -> bytes:
    """A Stream Transmission Buffer."""
    return (0x10000000 | (4 + len(octets))).to_bytes(4, "big") + octets


VIOLATED = SharedEnd(
    outcome=Outcome.VIOLATED,
    ended_by=Participant.PARTNER,
    cause="state.command",
    reason=2,
    message="CD from the Speaker",
    side=Participant.PARTNER,
)


def split(*pieces: bytes) -> list[Item]:
    """What a splitter makes of pieces, runs that follow each other put together."""
    splitter = MarkSplitter()
    joined: list[Item] = []
    for piece in pieces:
        for item in splitter.receive(piece):
            last = joined[-1] if joined else None
            if isinstance(item, bytes) and isinstance(last, bytes):
                joined[-1] = last + item
            else:
                joined.append(item)
    return joined


class WireTests(SynchronousTestCase):
    """How marks stand on the wire."""

    def test_attach(self) -> None:
        """A header of version 0 with the length of the whole, the kind, and the ticket."""
        self.assertEqual(Attach(TICKET).encode(), b"\x00\x00\x00\x25\x01" + TICKET)

    def test_end(self) -> None:
        """Five octets, or how the session ended in six lines."""
        self.assertEqual(End().encode(), b"\x00\x00\x00\x05\x02")
        body = b"violated\npartner\nstate.command\n2\npartner\nCD from the Speaker"
        self.assertEqual(End(VIOLATED).encode(), b"\x00\x00\x00\x41\x02" + body)
        self.assertEqual(split(End(VIOLATED).encode()), [End(VIOLATED)])
        for end in (
            attrs.evolve(VIOLATED, reason=None),
            attrs.evolve(VIOLATED, side=None),
            attrs.evolve(VIOLATED, message=""),
        ):
            self.assertEqual(split(End(end).encode()), [End(end)])

    def test_end_of_a_newer_version(self) -> None:
        """Words that are not known here have a fallback."""
        read = End.read(b"vanished\nmoon\nsome.new_cause\n7\nmoon\n").end
        known = SharedEnd(
            outcome=Outcome.ABORTED,
            ended_by=Participant.NOBODY,
            cause="some.new_cause",
            reason=7,
            side=Participant.NOBODY,
        )
        self.assertEqual(read, known)

    def test_end_is_judged(self) -> None:
        """Anything but six lines in their form is a violation."""
        for body in (
            b"x",
            b"violated\npartner\nstate.command\n2\nm",
            b"violated\npartner\nstate.command\n2\nPartner\nm",
            b"violated\npartner\nstate.command\n2\npartner\nm\n",
            b"VIOLATED\npartner\nstate.command\n2\npartner\nm",
            b"violated\n\nstate.command\n2\npartner\nm",
            b"violated\npartner\nno code\n2\npartner\nm",
            b"violated\npartner\nstate.command\n100\npartner\nm",
            b"violated\npartner\nstate.command\n02\npartner\nm",
            b"violated\npartner\nstate.command\n2\npartner\n\x1b[2J",
            b"violated\npartner\nstate.command\n2\npartner\n\xff",
            b"violated\npartner\nstate.command\n2\npartner\n" + b"m" * 201,
        ):
            self.assertEqual(str(self.assertRaises(Violation, End.read, body).cause), "mark.end")

    def test_end_cannot_be_too_long(self) -> None:
        """A message is cut, and what cannot be printed is replaced: telling of an end never fails."""
        (mark,) = split(End(attrs.evolve(VIOLATED, message="\N{EURO SIGN}\x1b" * 500)).encode())
        assert isinstance(mark, End) and mark.end is not None
        self.assertEqual(mark.end.message, "\N{EURO SIGN}?" * 100)

    def test_ticket_of_another_length(self) -> None:
        """A ticket that is too short is not put on the wire."""
        self.assertRaises(ValueError, Attach(b"short").encode)

    def test_ticket_is_not_shown(self) -> None:
        """A ticket is a secret: its mark does not print it."""
        self.assertNotIn("\\x01", repr(Attach(TICKET)))


class SplitterTests(SynchronousTestCase):
    """What the splitter finds, and what it refuses."""

    def test_runs_pass_as_they_are(self) -> None:
        """A run without marks is handed on as the very object that came."""
        run = unit(b"a" * 100) * 50
        (item,) = MarkSplitter().receive(run)
        self.assertIs(item, run)

    def test_units_across_pieces_are_not_gathered(self) -> None:
        """Of a large unit every piece is handed on at once."""
        splitter = MarkSplitter()
        whole = unit(bytes(100_000))
        self.assertEqual(splitter.receive(whole[:10]), [whole[:10]])
        self.assertEqual(splitter.receive(whole[10:]), [whole[10:]])

    def test_marks_among_units(self) -> None:
        """Sessions follow each other on one connection."""
        stream = Attach(TICKET).encode() + unit(b"a") * 3 + End().encode() + Attach(TICKET).encode() + End().encode()
        self.assertEqual(split(stream), [Attach(TICKET), unit(b"a") * 3, End(), Attach(TICKET), End()])

    def test_marks_in_a_unit_are_data(self) -> None:
        """What looks like a mark within a unit is no mark."""
        stream = unit(End().encode() * 3)
        self.assertEqual(split(stream), [stream])
        self.assertEqual(split(*(bytes((octet,)) for octet in stream)), [stream])

    def test_octets_that_are_no_oftp2(self) -> None:
        """Units of other versions pass too: they are the monitors' to judge."""
        stream = b"\xff\x00\x00\x06xy" + End().encode()
        self.assertEqual(split(stream), [b"\xff\x00\x00\x06xy", End()])

    @given(
        st.lists(st.one_of(st.binary(max_size=40).map(unit), st.just(Attach(TICKET)), st.just(End())), max_size=12),
        st.randoms(use_true_random=False),
    )
    def test_any_cut_says_the_same(self, sent: list[bytes | Attach | End], rng: random.Random) -> None:
        """However the stream is cut, the same runs and marks come out, and all octets of the runs."""
        stream = b"".join(item if isinstance(item, bytes) else item.encode() for item in sent)
        whole = split(stream)
        cuts = sorted(rng.randint(0, len(stream)) for _ in range(5))
        pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        self.assertEqual(split(*pieces), whole)
        self.assertEqual(split(*(bytes((octet,)) for octet in stream)), whole)
        self.assertEqual(
            [item for item in whole if not isinstance(item, bytes)], [i for i in sent if not isinstance(i, bytes)]
        )
        self.assertEqual(
            b"".join(i for i in whole if isinstance(i, bytes)), b"".join(i for i in sent if isinstance(i, bytes))
        )

    def refused(self, octets: bytes) -> str:
        """The cause, and that it is given at the last of these octets and not before."""
        splitter = MarkSplitter()
        for octet in octets[:-1]:
            splitter.receive(bytes((octet,)))
        violation = self.assertRaises(Violation, splitter.receive, octets[-1:])
        self.assertRaises(Violation, MarkSplitter().receive, octets)
        return str(violation.cause)

    def test_lengths_are_judged_before_they_are_waited_for(self) -> None:
        """A mark of another length is refused at its fourth octet, whatever it wants to send."""
        for length in (0, 4, 5 + 1_024, 0x00FF_FFFF, 0x0100_0005, 0x0FFF_FFFF):
            self.assertEqual(self.refused(length.to_bytes(4, "big")), "mark.length")

    def test_kinds_are_judged_at_their_octet(self) -> None:
        """A kind that does not exist, or not in this length, is refused at the fifth octet."""
        for length in (5, 6, 36, 37, 38):
            for kind in range(256):
                if kind != 2 and (length, kind) != (37, 1):
                    self.assertEqual(self.refused(length.to_bytes(4, "big") + bytes((kind,))), "mark.kind")

    def test_unit_shorter_than_its_header(self) -> None:
        """A unit that could not hold its own header would hold up the stream for ever."""
        for length in range(4):
            self.assertEqual(self.refused((0x10000000 | length).to_bytes(4, "big")), "mark.unit")

    def test_little_is_held(self) -> None:
        """Held back are three octets of a header or an unfinished mark, never more."""
        splitter = MarkSplitter()
        splitter.receive(unit(b"x") * 1_000 + unit()[:3])
        self.assertEqual(splitter._held, unit()[:3])
        splitter = MarkSplitter()
        splitter.receive(Attach(TICKET).encode()[:-1])
        self.assertEqual(len(splitter._held), 36)


class RawSplitterTests(SynchronousTestCase):
    """A connection whose session has no units."""

    def test_however_it_is_cut(self) -> None:
        """ATTACH comes out once, and then all octets, marks' own octets among them, wherever the stream is cut."""
        words = Attach(TICKET).encode() * 2 + End().encode() + b"\x00\x00\x00"
        for cut in range(1, len(words) + 1):
            splitter = RawSplitter()
            items: list[Item] = []
            for start in range(0, len(words), cut):
                items += splitter.receive(words[start : start + cut])
            self.assertEqual(items[0], Attach(TICKET))
            self.assertEqual(b"".join(item for item in items[1:] if isinstance(item, bytes)), words[37:])

    def test_after_its_own_attach(self) -> None:
        """At the end that sent ATTACH every octet belongs to the session, as the very object that came."""
        splitter = RawSplitter()
        splitter.attached = True
        words = Attach(TICKET).encode()
        (item,) = splitter.receive(words)
        self.assertIs(item, words)

    def test_anything_else_at_the_beginning(self) -> None:
        """Refused at the header, or at the kind: nothing is waited for."""
        for words in (b"\x10\x00\x00\x08", End().encode(), b"\x00\x00\x00\x25\x02", b"SSH-"):
            self.assertRaises(Violation, RawSplitter().receive, words)

    def test_nothing_before_it_is_certain(self) -> None:
        """A header that is not whole is held."""
        self.assertEqual(RawSplitter().receive(b"\x00\x00\x00"), [])
