"""A fault at every step of a session: nobody is lied to, nothing is invented, everything ends.

The history of a whole session is played through both daemons' sessions; after each of its steps, and within each
buffer, each fault happens once.
"""

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from smartproxy.oftp2.commands import EFPA, RTR
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.stream import SSRM_BUFFER
from smartproxy.policy.faults import Draining, TunnelLost
from smartproxy.relay import events
from smartproxy.relay.deadlines import Timer
from tests.unit.playbook import (
    CD_,
    CDT_,
    CUT_OFF,
    EERP_,
    EFID_5,
    INITIATOR,
    LATE,
    LOST,
    PARTNER_SSID,
    REFUSED,
    SFPA_0,
    STATION_SSID,
    STOPPED,
    VIOLATED,
    data,
    esid,
    framed,
    sfid,
)
from tests.unit.session_pair import Daemon, Pair

PARTNER, STATION = "partner", "station"
EFPA_Y = framed(EFPA(cd="Y"))
RTR_ = framed(RTR())
HISTORY = (
    (PARTNER, PARTNER_SSID),
    (STATION, SSRM_BUFFER),
    (STATION, STATION_SSID),
    (PARTNER, sfid()),
    (STATION, SFPA_0),
    (PARTNER, data() * 3),
    (STATION, CDT_),
    (PARTNER, data(b"67890")),
    (PARTNER, EFID_5),
    (STATION, EFPA_Y),
    (PARTNER, CD_),
    (STATION, EERP_),
    (PARTNER, RTR_),
    (STATION, sfid("ORDERS")),
    (PARTNER, SFPA_0),
    (STATION, data() + EFID_5),
    (PARTNER, EFPA_Y),
    (STATION, CD_),
    (PARTNER, esid(EsidReason.NORMAL)),
)

Fault = Callable[[Pair], None]
ESIDS = [*map(esid, EsidReason), VIOLATED, LOST, LATE, REFUSED, STOPPED, CUT_OFF]


def at_client(fault: Callable[[Pair, Daemon], None]) -> Fault:
    """A fault of the client, if there is one already; else of the server."""
    return lambda pair: fault(pair, pair.client or pair.server)


FAULTS: dict[str, Fault] = {
    "the partner is lost": lambda pair: pair.lose(pair.server, INITIATOR),
    "the station is lost": at_client(lambda pair, daemon: pair.lose(daemon, daemon.outside)),
    "the tunnel is lost": at_client(lambda pair, daemon: pair.lose(daemon, daemon.tunnel)),
    "the server drains": lambda pair: pair.happens(pair.server, events.Stop(Draining(rule="drain", message="stop"))),
    "the client drains": at_client(
        lambda pair, daemon: pair.happens(daemon, events.Stop(Draining(rule="drain", message="stop")))
    ),
    "the server's tunnel is down": lambda pair: pair.happens(
        pair.server, events.Stop(TunnelLost(rule="tunnel.down", message="down"))
    ),
    "a bug in the server": lambda pair: pair.happens(pair.server, events.Bug()),
    "a bug in the client": at_client(lambda pair, daemon: pair.happens(daemon, events.Bug())),
    "the partner sends garbage": lambda pair: pair.says(pair.server, b"\xff"),
    "the station sends garbage": lambda pair: pair.says(pair.client, b"\xff"),
    "nobody does anything": lambda pair: pair.happens(pair.server, events.TimedOut(due(pair.server))),
    "nobody does anything, says the client": at_client(
        lambda pair, daemon: pair.happens(daemon, events.TimedOut(due(daemon)))
    ),
}


def due(daemon: Daemon) -> Timer:
    """The deadline that would pass if nothing happened any more."""
    order = (Timer.OPENING, Timer.SSID, Timer.INITIATOR_BUFFER, Timer.RESPONDER_BUFFER, Timer.AUTHENTICATION)
    return next((timer for timer in order if timer in daemon.armed), Timer.INACTIVITY)


def play(steps: int, within: int) -> Pair:
    """Play the first steps of the history, and ``within`` octets of the next one."""
    pair = Pair()
    for number, (who, octets) in enumerate(HISTORY[: steps + 1]):
        spoken = octets if number < steps else octets[:within]
        if spoken:
            pair.says(pair.server if who == PARTNER else pair.client, spoken)
    return pair


class EveryFaultAtEveryStep(SynchronousTestCase):
    """The matrix."""

    def check(self, pair: Pair) -> None:
        """What must hold however a session ended."""
        if pair.client is None:
            self.prefix(pair.server.received, SSRM_BUFFER)
        else:
            self.prefix(pair.server.received, SSRM_BUFFER + pair.client.said.removeprefix(SSRM_BUFFER))
            self.prefix(pair.client.received, pair.server.said)
        for daemon in pair.daemons:
            self.assertEqual(len(daemon.done), 1)
            self.assertEqual(daemon.armed, set())
            started = sum(report.name == "session.started" for report in daemon.reports)
            ended = sum(report.name == "session.ended" for report in daemon.reports)
            self.assertEqual(started, ended)
            if daemon.closed[daemon.outside] == "finished" and (started or daemon is pair.server):
                self.assertTrue(any(daemon.received.endswith(words) for words in ESIDS), "not told why")
            self.assertEqual(self.ends(daemon), self.ends(pair.server) or self.ends(daemon))
            files = sum(report.name == "file.ended" for report in daemon.reports)
            self.assertGreaterEqual(files, sum(report.name == "file.started" for report in daemon.reports))

    def ends(self, daemon: Daemon) -> list[list[object]]:
        """How the session ended, as one daemon says."""
        names = ("outcome", "cause", "ended_by", "reason", "message", "side")
        return [
            [report.fields.get(name) for name in names] for report in daemon.reports if report.name == "session.ended"
        ]

    def prefix(self, received: bytes, said: bytes) -> None:
        """What was received is what the other end said, as far as it came, and at most one ESID behind it."""
        common = next((n for n, (a, b) in enumerate(zip(received, said, strict=False)) if a != b), None)
        rest = received[common if common is not None else min(len(received), len(said)) :]
        if rest:
            whole = len(received) - len(rest)
            candidates = ESIDS
            # The common part may reach into the ESID, whose header looks like any other.
            self.assertTrue(
                any(received.endswith(one) and len(received) - len(one) <= whole for one in candidates),
                f"{rest!r} was invented",
            )

    def test_matrix(self) -> None:
        """Each fault, after each step and in the middle of the next one's first buffer."""
        cases = 0
        for name, fault in FAULTS.items():
            for steps in range(len(HISTORY)):
                for within in (0, 1, 4, 5, len(HISTORY[steps][1]) - 1):
                    pair = play(steps, within)
                    fault(pair)
                    for daemon in pair.daemons:
                        if not daemon.done:
                            pair.lose(daemon, daemon.outside)
                    try:
                        self.check(pair)
                    except AssertionError as error:
                        raise AssertionError(f"{name} after step {steps}, {within} octets") from error
                    cases += 1
        self.assertEqual(cases, len(FAULTS) * len(HISTORY) * 5)

    def test_no_fault(self) -> None:
        """Without one, everything arrives, octet by octet too, and both sessions are completed."""
        for size in (1, 7, 10_000):
            pair = Pair()
            for who, octets in HISTORY:
                for place in range(0, len(octets), size):
                    pair.says(pair.server if who == PARTNER else pair.client, octets[place : place + size])
            assert pair.client is not None
            self.assertEqual(pair.client.received, pair.server.said)
            self.assertEqual(SSRM_BUFFER + pair.client.said.removeprefix(SSRM_BUFFER), pair.server.received)
            for daemon in pair.daemons:
                self.assertEqual([summary.ending.outcome for summary in daemon.done], ["completed"])
                self.assertEqual(daemon.armed, set())
                (summary,) = daemon.done
                self.assertEqual((summary.fields["files_in"], summary.fields["files_out"]), (1, 1))
