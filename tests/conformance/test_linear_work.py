"""The monitor's work grows with the octets, not with their square: counted in calls, not in seconds."""

import sys
from collections.abc import Callable
from types import FrameType

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.monitor import Monitor
from tests.conformance.openings import INITIATOR, RESPONDER, Terms, opening, streamed
from tests.conformance.wire import Wire, framed

#: Twice the octets may cost this much more than once the octets.
MOST = 2.1
WIRE = Wire(5)


def calls(work: Callable[[], object]) -> int:
    """The number of functions, Python's and C's, that are called while it runs."""
    count = 0

    def seen(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        if event in ("call", "c_call"):
            count += 1

    before = sys.getprofile()
    sys.setprofile(seen)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


class LinearWorkTests(SynchronousTestCase):
    """Streams of n and of 2n octets that are as unpleasant as the protocol allows."""

    def monitor(self, state: str, terms: Terms | None = None) -> Monitor:
        """A monitor in a state."""
        monitor = Monitor()
        for sender, octets in streamed(opening(state, INITIATOR, terms or Terms(window=999, size=99999))):
            monitor.judge(sender, octets)
        return monitor

    def check(self, state: str, stream: Callable[[int], bytes], size: int, chunk: int) -> None:
        """Judge ``stream(size)`` and ``stream(2 * size)`` in chunks and compare the work."""
        work = []
        for octets in (stream(size), stream(2 * size)):
            monitor = self.monitor(state)
            pieces = [octets[index : index + chunk] for index in range(0, len(octets), chunk)]

            def judge(monitor: Monitor = monitor, pieces: list[bytes] = pieces) -> None:
                for piece in pieces:
                    judgement = monitor.judge(INITIATOR, piece)
                    assert judgement.error is None, judgement.error

            work.append(calls(judge))
        self.assertLess(work[1], MOST * work[0] + 50, f"{work} calls")
        self.assertGreater(work[0], 0)

    def test_one_octet_at_a_time(self) -> None:
        """DATA that comes octet by octet."""
        self.check("SENDING", lambda n: framed(b"D" + b"\x3f" + bytes(63)) * (n // 69), 6900, 1)

    def test_one_large_buffer_octet_by_octet(self) -> None:
        """One large DATA buffer of irregular subrecords that comes octet by octet."""
        self.check("SENDING", lambda n: framed(b"D" + b"\x02ab\x01c\x00" * (n // 6)), 12000, 1)

    def test_smallest_buffers(self) -> None:
        """A flood of the smallest Stream Transmission Buffers in one piece."""
        self.check("SENDING", lambda n: framed(b"D") * (n // 5), 2000, 1 << 20)

    def test_empty_subrecords(self) -> None:
        """Buffers full of subrecords of length zero."""
        self.check("SENDING", lambda n: framed(b"D" + b"\x00" * 1000) * (n // 1005), 20000, 1 << 20)

    def test_longest_end_response(self) -> None:
        """An EERP with a long signature that comes octet by octet."""
        self.check("IDLE", lambda n: framed(WIRE.eerp(1, b"x", b"s" * n)), 7000, 1)

    def test_longest_description(self) -> None:
        """An SFID whose description comes octet by octet."""
        self.check("IDLE", lambda n: framed(WIRE.sfid(1, "U", 0, 1, 0, "ü" * (n // 2))), 400, 1)

    def test_end_responses_in_turn(self) -> None:
        """Many commands, one after the other."""
        monitor = self.monitor("IDLE")

        def judge(count: int) -> None:
            for _ in range(count):
                assert monitor.judge(INITIATOR, framed(WIRE.eerp(1, b"", b""))).error is None
                assert monitor.judge(RESPONDER, framed(b"P")).error is None

        once, twice = calls(lambda: judge(100)), calls(lambda: judge(200))
        self.assertLess(twice, MOST * once)

    def test_octets_after_the_end(self) -> None:
        """What is dropped after ESID costs one call each, however much it is."""
        monitor = self.monitor("IDLE")
        monitor.judge(INITIATOR, framed(WIRE.esid(99)))
        small, large = (
            calls(lambda: monitor.judge(INITIATOR, b"x")),
            calls(lambda: monitor.judge(INITIATOR, b"x" * 1000000)),
        )
        self.assertLessEqual(large, small + 2)
