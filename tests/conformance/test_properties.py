"""Any octets, cut anyhow, give verdicts or the one family of errors, always the same; the codec is invertible."""

import contextlib
import string
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.codec import decode, encode
from smartproxy.oftp2.commands import BY_NAME, Command
from smartproxy.oftp2.errors import ProtocolError
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Level, Profile, Role
from tests.conformance.cuts import Chunks, at_random, octet_by_octet
from tests.conformance.facts import Fact, facts
from tests.conformance.malformed import PLACES, sample
from tests.conformance.openings import STATES, opening, streamed
from tests.conformance.verdicts import verdicts
from tests.conformance.wire import framed

ALPHANUMERIC = string.digits + string.ascii_uppercase + "/-.&()"


def text(width: int, *, least: int = 0) -> st.SearchStrategy[str]:
    """X(n): the RFC's set."""
    return st.text(ALPHANUMERIC, min_size=least, max_size=width)


def value(fact: Fact) -> st.SearchStrategy[Any]:
    """Values of one field, by its facts."""
    width = fact.width or 0
    if fact.rule == "is":
        return st.just(fact.argument.rstrip(" "))
    if fact.rule == "octets":
        return st.sampled_from([chr(int(octet, 16)) for octet in fact.argument.split()])
    if fact.rule == "one-of":
        found = fact.argument.split()
        return st.sampled_from([int(item) for item in found] if fact.letter == "9" else found)
    if fact.rule == "range":
        low, high = map(int, fact.argument.split())
        return st.integers(low, high)
    if fact.rule == "number":
        return st.integers(0, 10**width - 1)
    if fact.rule in ("date8", "date6"):
        return (
            st.dates().map(lambda day: int(f"{day:%Y%m%d}"[-width:]))
            if width == 6
            else st.dates().map(lambda day: day.year * 10000 + day.month * 100 + day.day)
        )
    if fact.rule in ("time10", "time6"):
        clock = st.times().map(lambda time: time.hour * 10000 + time.minute * 100 + time.second)
        return clock if width == 6 else st.builds(lambda hms, count: hms * 10000 + count, clock, st.integers(0, 9999))
    if fact.rule in ("string", "reserved"):
        return text(width) if fact.rule == "string" else st.just("")
    if fact.rule == "dataset":
        return text(width, least=1).filter(lambda name: ".." not in name and not name.startswith("/"))
    if fact.rule == "code":
        return text(width, least=1)
    if fact.rule == "printable":
        return st.text(string.ascii_letters + string.digits + string.punctuation, max_size=width)
    if fact.rule == "text":
        return st.text(max_size=20)
    return st.binary(min_size=width, max_size=width or 300)


def command(level: int, name: str) -> st.SearchStrategy[Command]:
    """Commands of one name at one level."""
    kind = BY_NAME[name]
    fields = {
        fact.field.removeprefix(name).lower(): st.just(level) if fact.field == "SSIDLEV" else value(fact)
        for fact in facts()[level, name]
        if fact.rule not in ("command", "length")
    }
    if name == "SFID":
        fields["lrecl"] = st.just(0)
    return st.builds(kind, **fields)


any_command = st.sampled_from([key for key in facts() if key[1] != "DATA"]).flatmap(
    lambda key: st.tuples(st.just(Level(key[0])), command(*key))
)

CHUNKS = st.lists(
    st.tuples(
        st.sampled_from(Role),
        st.one_of(
            st.binary(max_size=40),
            st.binary(min_size=1, max_size=40).map(framed),
            st.sampled_from([framed(sample(5, name)) for name in PLACES]),
        ),
    ),
    max_size=12,
)
OPENINGS = st.tuples(st.sampled_from(STATES), st.sampled_from(Role))


class CodecProperties(SynchronousTestCase):
    """Encoding and decoding are inverse to each other."""

    @settings(max_examples=600, deadline=None, derandomize=True, database=None)
    @given(any_command)
    def test_decode_inverts_encode(self, drawn: tuple[Level, Command]) -> None:
        """What is encoded is decoded to the same command, at every level, and encodes to the same octets again."""
        level, made = drawn
        octets = encode(made, level)
        self.assertEqual(decode(octets, level), made)
        self.assertEqual(encode(decode(octets, level), level), octets)

    @settings(max_examples=600, deadline=None, derandomize=True, database=None)
    @given(st.sampled_from(Level), st.binary(max_size=200))
    def test_decode_raises_one_family(self, level: Level, octets: bytes) -> None:
        """Any octets decode to a command or raise a protocol error."""
        for profile in Profile:
            with contextlib.suppress(ProtocolError):
                decode(octets, level, profile)


class MonitorProperties(SynchronousTestCase):
    """The monitor on hostile streams."""

    @settings(max_examples=700, deadline=None, derandomize=True, database=None)
    @given(OPENINGS, st.sampled_from(Profile), CHUNKS, st.randoms(use_true_random=False))
    def test_same_verdicts_however_it_is_cut(
        self, place: tuple[str, Role], profile: Profile, chunks: Chunks, rng: Any
    ) -> None:
        """Any octets in any state give verdicts or a protocol error, the same ones whole, in pieces, octet by octet."""
        before = streamed(opening(*place))
        expected = verdicts(chunks, profile, before=before)
        self.assertEqual(verdicts(at_random(chunks, rng), profile, before=before), expected)
        self.assertEqual(verdicts(octet_by_octet(chunks), profile, before=before), expected)

    @settings(max_examples=200, deadline=None, derandomize=True, database=None)
    @given(OPENINGS, st.sampled_from(Role), st.binary(max_size=3000))
    def test_held_is_bounded(self, place: tuple[str, Role], sender: Role, octets: bytes) -> None:
        """What is neither passed nor dropped is held, and it is never more than one unfinished buffer."""
        state, speaker = place
        monitor = Monitor()
        for role, buffer in streamed(opening(state, speaker)):
            monitor.judge(role, buffer)
        judgement = monitor.judge(sender, octets)
        if judgement.error is None:
            self.assertEqual(len(judgement.octets) + judgement.discarded + monitor.held(sender), len(octets))
