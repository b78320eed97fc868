"""Both ends of the tunnel against each other, over real TLS in memory."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from smartproxy import __version__
from smartproxy.logs.severity import Severity
from smartproxy.net.leg import ILeg
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import GenerationId
from smartproxy.policy.faults import (
    OwnFault,
    PartnerUnreachable,
    QuotaExceeded,
    StationUnreachable,
    Step,
    TunnelLost,
)
from smartproxy.policy.loads import ToldLoad
from smartproxy.policy.outcomes import Outcome, Participant
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.versions import NEWEST
from smartproxy.relay.events import SharedEnd
from smartproxy.testing.pki import CLIENT_AUTH, TestCa
from smartproxy.tunnel.chunks import cut
from smartproxy.tunnel.client_control import ClientControl, Configured
from smartproxy.tunnel.faults import ConfigurationDeclined, NotNow, QuestionFailed
from smartproxy.tunnel.kinds import SMART, TunnelKind, plain
from smartproxy.tunnel.server_control import ServerControl
from smartproxy.tunnel.vocabulary import Ping, Report, Side, TunnelCommand
from tests.adapters.tunnel_kit import (
    FACTS,
    SESSION,
    UNIT,
    WHY,
    WISH,
    ClientSide,
    Network,
    Receiver,
    ServerSide,
    authority,
    credential,
    identity,
    inner,
    pair,
)
from tests.unit.odd_files import named_in_bits, of_no_version, of_no_year

ABORTED = SharedEnd(
    outcome=Outcome.ABORTED,
    cause=Cause.SESSION_ABORTED,
    ended_by=Participant.PARTNER,
    reason=8,
    message="the partner ended the session with ESID 08",
    side=Participant.PARTNER,
)

STORE, ANOTHER = "0123456789abcdef", "fedcba9876543210"


class UpAndDownTests(SynchronousTestCase):
    """A tunnel comes up, stays up, and goes down for everybody."""

    def setUp(self) -> None:
        """A tunnel that is up."""
        self.network = Network()
        self.server, self.client = pair(self.network)

    def test_both_ends_are_told(self) -> None:
        """Both daemons hear of the tunnel once, with the client's name and the server's version."""
        self.assertEqual(self.server.user.notes, [("up", "inner-1")])
        self.assertEqual(self.client.user.notes, [("up", __version__)])
        self.assertEqual(len(self.server.events.named("tunnel.up")), 1)
        self.assertEqual(len(self.client.events.named("tunnel.up")), 1)

    def test_entrances_are_over(self) -> None:
        """Octets come from TLS to the control connection itself, at both ends."""
        for control in (self.server.control, self.client.control):
            transport: Any = control.transport
            self.assertIs(transport.wrappedProtocol, control)

    def test_stays_up_while_pings_are_answered(self) -> None:
        """Five quiet minutes end nothing."""
        self.network.advance(300)
        self.assertTrue(self.server.control.ready)
        self.assertIsNone(self.client.control.lost)

    def test_load(self) -> None:
        """A server tells its load with its pings; one that tells nothing has none."""
        self.network.advance(limits.PING_SECONDS + 1)
        self.assertIsNone(self.client.control.load)
        told = ToldLoad(cpu=120, memory=85, sessions=3, sessions_most=500)
        self.server.tunnel.load = lambda: told
        self.network.advance(limits.PING_SECONDS + 1)
        self.assertEqual(self.client.control.load, told)
        self.server.tunnel.load = lambda: ToldLoad(memory=86)
        self.network.advance(limits.PING_SECONDS + 1)
        self.assertEqual(self.client.control.load, ToldLoad(memory=86))

    def test_black_hole_is_noticed_within_half_a_minute(self) -> None:
        """When octets vanish and nobody is told, both ends notice within 30 seconds."""
        self.network.advance(3)
        self.network.cut()
        self.client.endpoint.factory = None
        self.network.advance(30)
        self.assertEqual(self.server.tunnel.controls, ())
        self.assertEqual(self.server.user.notes[-1][:2], ("down", "inner-1"))
        self.assertEqual(self.client.user.notes[1][0], "down")

    def test_client_that_stops_is_gone_at_once(self) -> None:
        """The server's daemon hears of the end as soon as the client closes, and no connection stays."""
        self.client.tunnel.stopService()
        self.network.settle()
        self.assertEqual(self.server.user.notes[-1][:2], ("down", "inner-1"))
        self.network.advance(limits.CLOSING.default + 1)
        self.assertTrue(all(link.client.disconnected or link.server.disconnected for link in self.network.links))
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_server_that_stops_lets_nobody_in(self) -> None:
        """A server that stops ends its tunnels and refuses new connections."""
        self.server.tunnel.stop("the server stops")
        self.network.advance(2)
        self.assertEqual(self.client.user.notes[1][0], "down")
        self.assertIsNone(self.client.tunnel.control)
        self.assertEqual(self.server.tunnel.controls, ())

    def test_client_dials_again(self) -> None:
        """After a loss the tunnel is back, and both daemons are told again."""
        self.server.control.abort(WHY)
        self.network.advance(3)
        self.assertEqual([note[0] for note in self.client.user.notes], ["up", "down", "up"])
        self.assertEqual([note[0] for note in self.server.user.notes], ["up", "down", "up"])

    def test_hundred_losses_in_a_row(self) -> None:
        """Whichever end goes, the tunnel is back each time, and nothing of the old ones is left."""
        for turn in range(100):
            (self.server.control if turn % 2 else self.client.control).abort(WHY)
            self.network.advance(2)
        self.assertEqual(self.server.control.client_name, "inner-1")
        self.network.advance(10)
        self.client.tunnel.stopService()
        self.network.advance(10)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])


class ConfigurationTests(SynchronousTestCase):
    """Generations travel whole; those of one store only rise."""

    def setUp(self) -> None:
        """A tunnel that is up."""
        self.network = Network()
        self.server, self.client = pair(self.network)

    def configure(self, generation: int, octets: bytes, store: str | None = STORE) -> Deferred[Configured]:
        """Send a generation and let it arrive."""
        done = self.client.control.configure(GenerationId(generation, store), octets)
        self.network.settle()
        return done

    def test_large_one_arrives_whole(self) -> None:
        """A document of many chunks arrives as it was sent."""
        document = bytes(range(256)) * 4_001
        self.assertEqual(self.successResultOf(self.configure(3, document)), Configured(True, GenerationId(3, STORE)))
        self.assertEqual(self.server.user.notes[1:], [("configuration", 3, document)])

    def test_another_store(self) -> None:
        """Any generation of another store is newer, and after it an older one of that store is old."""
        self.successResultOf(self.configure(7, b"seven"))
        for store, number in ((ANOTHER, 3), (STORE, 5), (None, 1), (ANOTHER, 3)):
            here = GenerationId(number, store)
            self.assertEqual(self.successResultOf(self.configure(number, b"x", store)), Configured(True, here))
            self.assertEqual(self.successResultOf(self.configure(number, b"y", store)), Configured(False, here))
        self.assertEqual(self.server.user.in_force, GenerationId(3, ANOTHER))
        self.assertEqual(
            self.successResultOf(self.configure(2, b"old", ANOTHER)), Configured(False, GenerationId(3, ANOTHER))
        )

    def test_chunks_of_two_stores(self) -> None:
        """Chunks under one number but of two stores do not become one whole."""
        first, _ = cut(GenerationId(2, STORE), b"a" * 40_000)
        _, second = cut(GenerationId(2, ANOTHER), b"a" * 40_000)
        for chunk in (first, second):
            self.client.control._send_chunk(chunk).addErrback(lambda failure: None)
        self.network.settle()
        (told,) = self.server.events.named("tunnel.violation")
        self.assertEqual(told["cause"], "chunk.mixed")
        self.assertEqual(self.server.user.in_force, GenerationId())

    def test_every_size_around_a_chunk(self) -> None:
        """Empty, one octet, and one octet around one and two chunks: each arrives as it is."""
        sizes = [0, 1, *(n * limits.CHUNK_OCTETS + d for n in (1, 2) for d in (-1, 0, 1))]
        for generation, size in enumerate(sizes, 1):
            self.successResultOf(self.configure(generation, b"x" * size))
        self.assertEqual([len(note[2]) for note in self.server.user.notes[1:]], sizes)  # type: ignore[arg-type]  # octets

    def test_old_one_is_ignored(self) -> None:
        """An older or equal generation is answered with the one that is held, and never reaches the daemon."""
        self.successResultOf(self.configure(7, b"new"))
        self.assertEqual(
            self.successResultOf(self.configure(6, b"old" * 99_999)), Configured(False, GenerationId(7, STORE))
        )
        self.assertEqual(self.successResultOf(self.configure(7, b"same")), Configured(False, GenerationId(7, STORE)))
        self.assertEqual(len(self.server.user.notes), 2)
        self.assertEqual(self.client.control.held, GenerationId(7, STORE))

    def test_refused_one_leaves_the_one_before(self) -> None:
        """What the daemon refuses is told to the client in its words; the generation held stays."""

        def refuse() -> None:
            raise DocumentRefused(where="server.partners[3].codes", cause=Cause.DOCUMENT_VALUE, message="empty")

        self.successResultOf(self.configure(1, b"one"))
        self.server.user.refuse = refuse
        failure = self.failureResultOf(self.configure(2, b"two"), ConfigurationDeclined)
        self.assertIn("server.partners[3].codes: empty", str(failure.value))
        self.assertEqual(self.server.user.in_force, GenerationId(1, STORE))
        self.assertIsNone(self.client.control.lost)

    def test_too_large_is_refused_before_it_is_sent(self) -> None:
        """A document over the cap is declined with its first chunk, and the tunnel stays up."""
        self.patch(limits, "DOCUMENT_WHOLE_OCTETS_MOST", 100_000)
        self.failureResultOf(self.configure(1, bytes(limits.DOCUMENT_WHOLE_OCTETS_MOST + 1)), ConfigurationDeclined)
        self.assertIsNone(self.client.control.lost)
        self.assertEqual(self.server.user.in_force, GenerationId())

    def test_two_at_once_go_one_after_the_other(self) -> None:
        """A generation that is asked for while another is on its way follows it."""
        first = self.client.control.configure(GenerationId(1, STORE), b"a" * 100_000)
        second = self.client.control.configure(GenerationId(2, STORE), b"b" * 100_000)
        self.network.settle()
        self.assertEqual(self.successResultOf(first), Configured(True, GenerationId(1, STORE)))
        self.assertEqual(self.successResultOf(second), Configured(True, GenerationId(2, STORE)))

    def test_hello_tells_what_is_held(self) -> None:
        """A client that comes back learns which generation the server holds; after forgetting, none."""
        self.successResultOf(self.configure(9, b"nine"))
        self.client.control.abort(WHY)
        self.network.advance(3)
        self.assertEqual(self.client.control.held.number, 9)
        self.server.user.in_force = GenerationId()
        self.client.control.abort(WHY)
        self.network.advance(3)
        self.assertEqual(self.client.control.held.number, 0)
        self.assertEqual(self.successResultOf(self.configure(1, b"again")), Configured(True, GenerationId(1, STORE)))


class SessionTests(SynchronousTestCase):
    """Sessions run on data connections, one after the other."""

    def setUp(self) -> None:
        """A tunnel that is up."""
        self.network = Network()
        self.server, self.client = pair(self.network)

    def ask(self, session: str = SESSION, seconds: float = 20) -> Deferred[ILeg]:
        """Have the server ask for a session, and let it arrive."""
        opening = self.server.control.open_inbound(session, FACTS, seconds=seconds)
        self.network.settle()
        return opening

    def open(self, session: str = SESSION) -> tuple[Receiver, Receiver]:
        """Open a session: its ends in the server and in the client."""
        opening = self.ask(session)
        here, there = Receiver(self.successResultOf(opening)), Receiver(self.client.user.legs[-1])
        self.network.settle()
        return here, there

    @property
    def data_connections(self) -> int:
        """How many data connections were ever made."""
        return len(self.network.links) - 1

    def test_octets_pass_both_ways_unchanged(self) -> None:
        """What one end sends is what the other gets, and the client knows who the partner is."""
        here, there = self.open()
        here.leg.send(UNIT * 3)
        there.leg.send(UNIT * 2)
        self.network.settle()
        self.assertEqual((there.got, here.got), (UNIT * 3, UNIT * 2))
        self.assertEqual(self.client.user.notes[1], ("inbound", SESSION, FACTS))
        self.assertEqual(self.server.control.load, 1)

    def test_connection_is_used_again(self) -> None:
        """A session that both ends ended hands its connection back: twenty sessions need no further handshake."""
        self.open()[0].leg.finish()
        self.network.settle()
        made = self.data_connections
        for number in range(20):
            here, there = self.open(f"{number:016x}")
            here.leg.send(UNIT * number)
            (here if number % 2 else there).leg.finish()
            self.network.settle()
            self.assertEqual(there.got, UNIT * number if number % 2 else b"")
            self.assertEqual(here.said[-1], "lost: the session is over")
            self.assertEqual(there.said[-1], "lost: the session is over")
            self.assertEqual(self.server.control.load, 0)
        self.assertEqual(self.data_connections, made)

    def test_both_ends_finish_at_once(self) -> None:
        """Ends that cross on their way end the session once, and the connection is used again."""
        here, there = self.open()
        here.leg.finish()
        there.leg.finish()
        self.network.settle()
        self.assertEqual(here.said, ["ended", "lost: the session is over"])
        self.assertEqual(there.said, ["ended", "lost: the session is over"])
        self.assertEqual(self.client.pool.idle, len(self.client.pool))

    def test_what_comes_after_the_end_is_dropped(self) -> None:
        """Octets that were on their way when this end had finished reach nobody, and the next session is clean."""
        here, there = self.open()
        there.finishes = False
        here.leg.finish()
        self.network.settle()
        there.leg.send(UNIT * 5)
        self.network.settle()
        there.leg.finish()
        self.network.settle()
        self.assertEqual(here.got, b"")
        here, there = self.open("1" * 16)
        there.leg.send(UNIT)
        self.network.settle()
        self.assertEqual(here.got, UNIT)

    def test_abort_ends_session_and_connection(self) -> None:
        """A session that is aborted takes its connection along; the other end hears of it, others do not."""
        here, there = self.open()
        other, _ = self.open("1" * 16)
        here.leg.abort()
        self.network.settle()
        self.assertEqual([said[:4] for said in there.said], ["lost"])
        self.assertEqual([said[:4] for said in here.said], ["lost"])
        self.assertEqual(other.said, [])
        self.assertEqual(self.server.control.load, 1)

    def test_end_that_is_not_answered_is_aborted(self) -> None:
        """An END that the other end does not answer in the closing time ends the connection."""
        here, there = self.open()
        there.finishes = False
        here.leg.finish()
        self.network.advance(limits.CLOSING.default + 0.5)
        self.assertEqual(here.said, ["lost: the other daemon did not end the session in time"])
        self.assertEqual([said[:4] for said in there.said], ["ende", "lost"])

    def test_old_leg_cannot_touch_the_next_session(self) -> None:
        """A leg that was handed back does nothing any more, whatever its holder still does with it."""
        old, _ = self.open()
        old.leg.finish()
        self.network.settle()
        here, there = self.open("1" * 16)
        old.leg.send(b"late")
        old.leg.finish()
        old.leg.pause()
        old.leg.abort()
        self.network.settle()
        here.leg.send(UNIT)
        self.network.settle()
        self.assertEqual((here.said, there.said, there.got), ([], [], UNIT))

    def test_tunnel_that_is_lost_takes_its_sessions_along(self) -> None:
        """Losing the control connection ends the sessions of that tunnel at both ends, with the cause."""
        here, there = self.open()
        given_up: list[Deferred[None]] = []
        self.client.user.opening = lambda: Deferred(given_up.append)
        opening = self.ask("1" * 16)
        self.client.control.abort(WHY)
        self.network.settle()
        self.assertIn("tunnel is down", here.said[-1])
        self.assertIn("tunnel is down", there.said[-1])
        self.failureResultOf(opening, TunnelLost)
        self.assertEqual(len(given_up), 1)

    def test_station_that_is_down(self) -> None:
        """The client's cause reaches the server's daemon in its words, and the connection is used again."""
        self.client.user.opening = lambda: fail(
            StationUnreachable(rule="station.unreachable", message="the station refuses connections")
        )
        failure = self.failureResultOf(self.ask(), StationUnreachable)
        self.assertEqual(failure.value.message, "the station refuses connections")
        self.network.settle()
        self.assertEqual(self.server.control.load, 0)
        self.assertEqual(self.server.events.named("tunnel.violation"), [])
        self.assertEqual(self.client.pool.idle, len(self.client.pool))

    def test_limit_of_the_client(self) -> None:
        """A limit on sessions that the client keeps is a limit for the server's daemon too, and no dead station."""
        message = "the client's limit of 3 sessions is reached"
        self.client.user.opening = lambda: fail(QuotaExceeded(rule=Cause.TUNNEL_POOL, message=message))
        fault = self.failureResultOf(self.ask(), QuotaExceeded).value
        self.assertEqual((fault.rule, fault.message), (Cause.TUNNEL_POOL, message))

    def test_station_that_is_slow(self) -> None:
        """An opening has a deadline; the client learns of it, and afterwards nothing of it is left at either end."""
        given_up: list[Deferred[None]] = []
        self.client.user.opening = lambda: Deferred(given_up.append)
        opening = self.ask(seconds=4)
        self.network.advance(5)
        self.assertEqual(self.failureResultOf(opening, StationUnreachable).value.rule, Cause.DEADLINE_OPENING)
        self.assertEqual(len(given_up), 1)
        there = Receiver(self.client.user.legs[0])
        self.network.advance(limits.CLOSING.default)
        self.assertEqual(
            [end and (end.outcome, end.cause) for end in there.ends], [("unreachable", "deadline.opening")]
        )
        self.assertEqual(self.server.control.load, 0)

    def test_bug_in_the_client_ends_one_session(self) -> None:
        """An exception in the client's daemon fails that opening, is reported once, and tells the server nothing."""

        def bug() -> Deferred[None]:
            raise ZeroDivisionError("secret")

        self.client.user.opening = bug
        failure = self.failureResultOf(self.ask(), StationUnreachable)
        self.assertNotIn("secret", str(failure.value))
        self.assertEqual(len(self.client.events.named("internal.error")), 1)
        self.client.user.opening = lambda: succeed(None)
        self.open("1" * 16)

    def test_opening_that_was_given_up_before_its_leg_came(self) -> None:
        """A ticket whose session nobody waits for any more ends where it arrives: no violation, no lost connection.

        Its end says how the session ended.
        """
        control = self.server.control
        opening = control.open_inbound(SESSION, FACTS, why=lambda: ABORTED)
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.network.advance(1)
        there = Receiver(self.client.user.legs[0])
        self.network.settle()
        self.assertEqual(there.said, ["ended", "lost: the session is over"])
        self.assertEqual(there.ends, [ABORTED])
        self.assertEqual(self.server.events.named("tunnel.violation"), [])

    def test_opening_that_nobody_wants_any_more(self) -> None:
        """Cancelling an opening ends it at both ends, and the client learns how the session ended."""
        self.client.user.opening = lambda: Deferred()
        opening = self.server.control.open_inbound(SESSION, FACTS, why=lambda: ABORTED)
        self.network.settle()
        opening.cancel()
        self.failureResultOf(opening, CancelledError)
        self.network.advance(1)
        there = Receiver(self.client.user.legs[0])
        self.network.settle()
        self.assertEqual((there.said[0], there.ends), ("ended", [ABORTED]))
        self.assertEqual(self.server.control.load, 0)

    def test_same_session_twice(self) -> None:
        """A session that is open cannot be opened again."""
        self.open()
        self.failureResultOf(self.ask(), StationUnreachable)

    def test_more_sessions_than_connections(self) -> None:
        """When all connections are in use, the next session is refused with a cause, and those that run go on."""
        self.client.tunnel.stopService()
        self.network.advance(6)
        network = self.network = Network()
        self.server, self.client = pair(network, most=2)
        first, second = self.open("1" * 16), self.open("2" * 16)
        failure = self.failureResultOf(self.ask("3" * 16), OwnFault)
        self.assertIn("pool.most", str(failure.value))
        first[0].leg.finish()
        network.settle()
        self.open("3" * 16)
        self.assertEqual(second[0].said, [])

    def test_many_openings_at_once(self) -> None:
        """Two hundred openings at once all succeed, though only a few questions may be on their way."""
        self.client.tunnel.stopService()
        self.network.advance(6)
        self.server, self.client = pair(self.network, most=200)
        openings = [self.server.control.open_inbound(f"{number:016x}", FACTS) for number in range(200)]
        self.network.settle()
        for opening in openings:
            self.successResultOf(opening)
        self.assertEqual(self.server.control.load, 200)

    def test_outbound(self) -> None:
        """A session that the station begins: the server calls the partner first, then takes the leg."""
        ready: Deferred[Callable[[ILeg | None], None]] = Deferred()
        self.server.user.outbound = ready
        legs: list[ILeg | None] = []
        opening = self.client.open_outbound(SESSION, "ACME", WISH)
        self.network.settle()
        self.assertEqual(self.server.user.notes[-1], ("outbound", SESSION, "ACME", WISH))
        ready.callback(legs.append)
        self.network.settle()
        here, there = Receiver(self.successResultOf(opening)), Receiver(legs[0])  # type: ignore[arg-type]  # a leg
        here.leg.send(UNIT)
        self.network.settle()
        self.assertEqual(there.got, UNIT)

    def test_outbound_partner_that_is_down(self) -> None:
        """The cause that the server found reaches the client's daemon."""
        self.server.user.outbound = fail(StationUnreachable(rule="partner.unreachable", message="refused by the peer"))
        opening = self.client.open_outbound(SESSION, "ACME", WISH)
        self.network.settle()
        self.assertIn("refused by the peer", str(self.failureResultOf(opening, StationUnreachable).value))

    def test_outbound_partner_that_does_not_prove_itself(self) -> None:
        """Where the call failed, and why, is told in fields; the sentence is for people alone."""
        fault = PartnerUnreachable(
            rule=Cause.CALL_TLS, message="name: a sentence", step=Step.TLS, cause=Cause.CERTIFICATE_REVOKED
        )
        self.server.user.outbound = fail(fault)
        opening = self.client.open_outbound(SESSION, "ACME", WISH)
        self.network.settle()
        came = self.failureResultOf(opening, PartnerUnreachable).value
        self.assertEqual((came.step, came.cause, came.rule), (Step.TLS, Cause.CERTIFICATE_REVOKED, Cause.CALL_TLS))

    def test_outbound_partner_that_is_slow(self) -> None:
        """A partner that is not ready in time fails the opening, and the server's daemon is told to stop."""
        given_up: list[object] = []
        self.server.user.outbound = Deferred(given_up.append)
        opening = self.client.open_outbound(SESSION, "ACME", WISH, seconds=4)
        self.network.advance(3.9)
        self.assertNoResult(opening)
        self.network.advance(1)
        self.assertEqual(self.failureResultOf(opening, PartnerUnreachable).value.cause, Cause.TUNNEL_SILENT)
        self.assertEqual(len(given_up), 1)

    def test_outbound_of_an_open_session(self) -> None:
        """A session that is open cannot be opened again from the other side."""
        self.open()
        opening = self.client.open_outbound(SESSION, "ACME", WISH)
        self.network.settle()
        self.assertEqual(self.failureResultOf(opening, PartnerUnreachable).value.cause, Cause.SESSION_OPEN)

    def test_outbound_bug(self) -> None:
        """A daemon that fails when it takes the leg is reported; the tunnel stays up."""

        def bug(leg: ILeg | None) -> None:
            raise ZeroDivisionError

        self.server.user.outbound = succeed(bug)
        opening = self.client.open_outbound(SESSION, "ACME", WISH)
        self.network.settle()
        self.successResultOf(opening)
        self.assertEqual(len(self.server.events.named("internal.error")), 1)
        self.assertIsNone(self.client.control.lost)

    def test_outbound_leg_when_the_tunnel_is_lost(self) -> None:
        """A tunnel that is lost before the leg came tells the server's daemon that there will be none."""
        legs: list[ILeg | None] = []
        self.server.user.outbound = succeed(legs.append)
        self.client.pool.stop(WHY)
        self.client.open_outbound(SESSION, "ACME", WISH).addErrback(lambda _: None)
        self.network.settle()
        self.server.control.abort(WHY)
        self.assertEqual(legs, [None])

    def test_outbound_leg_that_never_comes(self) -> None:
        """When the client does not attach, the server's daemon is told that there will be no leg."""
        legs: list[ILeg | None] = []
        self.server.user.outbound = succeed(legs.append)
        self.client.pool.stop(WHY)
        opening = self.client.open_outbound(SESSION, "ACME", WISH)
        self.network.advance(limits.TICKET_SECONDS + 1)
        self.assertEqual(self.failureResultOf(opening, OwnFault).value.rule, Cause.TUNNEL_POOL)
        self.assertEqual(legs, [None])
        self.assertEqual(self.server.control.load, 0)


class NewsTests(SynchronousTestCase):
    """What the daemons tell each other beside sessions."""

    def setUp(self) -> None:
        """A tunnel that is up."""
        self.network = Network()
        self.server, self.client = pair(self.network)

    def test_events_arrive_in_order(self) -> None:
        """Events reach the client's daemon once each, in order, however many."""
        for number in range(3_000):
            self.server.tunnel.report({"name": "session.started", "number": number})
        flushed = self.server.tunnel.flush(5)
        self.network.advance(1)
        self.successResultOf(flushed)
        events = [note[1] for note in self.client.user.notes if note[0] == "event"]
        self.assertEqual([event["number"] for event in events], list(range(3_000)))  # type: ignore[index]  # a mapping

    def test_large_events(self) -> None:
        """A batch of events larger than a box goes in several."""
        for number in range(60):
            self.server.tunnel.report({"name": "x" * 10_000, "number": number})
        self.network.advance(1)
        self.assertEqual(len([note for note in self.client.user.notes if note[0] == "event"]), 60)
        self.assertIsNone(self.client.control.lost)

    def numbers(self) -> list[object]:
        """The numbers of the events that the client's daemon was handed."""
        return [note[1]["number"] for note in self.client.user.notes if note[0] == "event"]  # type: ignore[index]  # a mapping

    def test_what_arrived_is_not_sent_again(self) -> None:
        """When one piece of a batch fails, the pieces before it are not sent again: each event arrives once."""
        real, calls = ServerControl.ask, []

        def ask(control: ServerControl, command: type[TunnelCommand], **told: Any) -> Deferred[Any]:
            if command is not Report:
                return real(control, command, **told)
            calls.append(len(told["events"]))
            return fail(QuestionFailed("not this one")) if len(calls) in (3, 4) else real(control, command, **told)

        self.patch(ServerControl, "ask", ask)
        self.server.tunnel.report({"name": "x" * 70_000})
        for number in range(60):
            self.server.tunnel.report({"name": "x" * 10_000, "number": number})
        self.network.advance(0.7)
        self.network.advance(10)
        # The two pieces that failed were of four events each.
        self.assertEqual((self.numbers(), sum(calls)), (list(range(60)), 60 + 8))
        self.assertEqual(len(self.server.events.named("events.dropped")), 1)

    def test_event_that_the_daemon_fails_with(self) -> None:
        """A daemon that fails with one event is handed the others, each once; the fault is reported once."""
        real = self.client.user.event

        def event(control: ClientControl, fields: Mapping[str, Any]) -> None:
            if fields["number"] in (1, 3):
                raise ZeroDivisionError("a fault")
            real(control, fields)

        self.patch(self.client.user, "event", event)
        for number in range(5):
            self.server.tunnel.report({"name": "session.started", "number": number})
        self.network.advance(10)
        self.assertEqual(self.numbers(), [0, 2, 4])
        self.assertEqual(len(self.client.events.named("internal.error")), 1)

    def test_event_that_does_not_fit(self) -> None:
        """An event larger than a box is dropped, which is an event itself; the others arrive."""
        self.server.tunnel.report({"name": "before"})
        self.server.tunnel.report({"name": "x" * 70_000})
        self.server.tunnel.report({"name": "after"})
        self.network.advance(1)
        names = [note[1]["name"] for note in self.client.user.notes if note[0] == "event"]  # type: ignore[index]  # a mapping
        self.assertEqual(names, ["before", "after"])
        self.assertEqual(len(self.server.events.named("events.dropped")), 1)

    def test_events_wait_for_the_tunnel(self) -> None:
        """What happened while there was no tunnel is told when there is one again."""
        self.client.control.abort(WHY)
        self.network.settle()
        self.server.tunnel.report({"name": "connection.refused"})
        self.network.advance(3)
        self.assertIn(("event", {"name": "connection.refused"}), self.client.user.notes)

    def test_url(self) -> None:
        """The address of a revocation list arrives as it was told."""
        self.server.control.seen_crl_url("http://ca.example/x.crl", "acme-ca")
        self.network.settle()
        self.assertIn(("crl", "http://ca.example/x.crl", "acme-ca"), self.client.user.notes)

    def test_wishes_of_the_client(self) -> None:
        """Closing a session and changing the level reach the server's daemon."""
        self.client.control.close_session(SESSION)
        self.client.control.set_level(Severity.DEBUG)
        self.network.settle()
        self.assertEqual(self.server.user.notes[1:], [("close", SESSION), ("level", Severity.DEBUG)])

    def test_draining(self) -> None:
        """A client that drains gets no new sessions; those that run stay, and pings go on."""
        opening = self.server.control.open_inbound(SESSION, FACTS)
        self.network.settle()
        running = Receiver(self.successResultOf(opening))
        control = self.server.control
        late = control.open_inbound("1" * 16, FACTS)
        done = self.client.control.drain()
        self.failureResultOf(self.client.control.set_level(Severity.DEBUG), NotNow)
        self.network.settle()
        self.successResultOf(done)
        self.successResultOf(late)
        self.assertEqual(self.server.user.notes[-1], ("drain",))
        self.assertEqual(self.server.tunnel.controls, ())
        self.failureResultOf(control.open_inbound("2" * 16, FACTS), StationUnreachable)
        self.network.advance(60)
        self.assertEqual((running.said, control.lost), ([], None))
        ping = self.client.control.ask(Ping)
        self.network.settle()
        self.successResultOf(ping)


class SeveralClientsTests(SynchronousTestCase):
    """A server serves several clients; each name has one control connection."""

    def setUp(self) -> None:
        """A tunnel that is up."""
        self.network = Network()
        self.server, self.client = pair(self.network)

    def another(self, name: str) -> ClientSide:
        """One more client."""
        client = ClientSide(self.network, self.server.tunnel.factory, inner(name))
        client.tunnel.startService()
        self.network.settle()
        return client

    def test_next_session_goes_to_the_least_loaded(self) -> None:
        """With two clients, sessions are shared evenly."""
        self.another("inner-2")
        for number in range(6):
            control = self.server.tunnel.least_loaded()
            assert control is not None
            control.open_inbound(f"{number:016x}", FACTS)
            self.network.settle()
        self.assertEqual([control.load for control in self.server.tunnel.controls], [3, 3])

    def test_losing_one_leaves_the_other(self) -> None:
        """The loss of one client ends its own sessions only."""
        second = self.another("inner-2")
        legs = {}
        for control in self.server.tunnel.controls:
            opening = control.open_inbound(SESSION, FACTS)
            self.network.settle()
            legs[control.client_name] = Receiver(self.successResultOf(opening))
        second.control.abort(WHY)
        self.network.settle()
        self.assertEqual(legs["inner-1"].said, [])
        self.assertEqual(len(legs["inner-2"].said), 1)

    def test_second_of_a_name_is_refused_while_the_first_answers(self) -> None:
        """A name that is taken stays with whom it is; both sides say why."""
        first = self.client.control
        second = self.another("inner-1")
        self.assertIsNone(second.tunnel.control)
        self.assertEqual(second.events.causes("tunnel.refused"), ["tunnel.name_taken"])
        self.assertEqual(self.server.events.causes("tunnel.refused"), ["tunnel.name_taken"])
        self.assertIsNone(first.lost)
        self.assertEqual(second.user.notes, [])

    def test_dead_one_of_a_name_is_replaced(self) -> None:
        """A client that lost its connection without the server's knowing is back before pings would have told."""
        self.network.cut()
        second = self.another("inner-1")
        self.network.advance(limits.PING_ANSWER_SECONDS + 1)
        self.assertIsNotNone(second.tunnel.control)
        self.assertEqual([note[0] for note in self.server.user.notes], ["up", "down", "up"])

    def test_two_newcomers_of_a_name_race(self) -> None:
        """When two connections want the name of a dead one at once, one gets it and the other is refused."""
        self.network.cut()
        racers = [self.another("inner-1"), self.another("inner-1")]
        self.network.advance(limits.PING_ANSWER_SECONDS + 1)
        self.assertEqual(len([racer for racer in racers if racer.tunnel.control is not None]), 1)
        self.assertEqual(len(self.server.tunnel.controls), 1)

    def session(self, client: ClientSide, number: int) -> Receiver:
        """The server's end of a session that the server has this client open."""
        control = self.server.tunnel.least_loaded()
        assert control is not None
        opening = control.open_inbound(f"{number:016x}", FACTS)
        self.network.settle()
        self.assertEqual(client.user.notes[-1], ("inbound", f"{number:016x}", FACTS))
        return Receiver(self.successResultOf(opening))

    def newer(self, older: ClientSide) -> ClientSide:
        """A newer process of a client, which that expects."""
        expected = older.control.moved()
        self.network.settle()
        self.successResultOf(expected)
        return self.another("inner-1")

    def test_newer_process_of_a_client(self) -> None:
        """New sessions go to it; the older one keeps its own, and its end takes none of the newer's along."""
        before = self.session(self.client, 1)
        newer = self.newer(self.client)
        after = self.session(newer, 2)
        drained = self.client.control.drain()
        self.network.settle()
        self.successResultOf(drained)
        self.session(newer, 3)
        self.assertEqual((before.said, [note[0] for note in self.server.user.notes]), ([], ["up", "up", "drain"]))
        self.client.tunnel.stopService()
        self.network.settle()
        self.session(newer, 4)
        self.assertEqual((len(before.said), after.said), (1, []))
        newer.control.abort(WHY)
        self.network.settle()
        self.assertEqual(len(after.said), 1)
        self.assertEqual(self.server.tunnel.controls, ())

    def test_newer_process_that_does_not_last(self) -> None:
        """The older one takes new sessions again."""
        newer = self.newer(self.client)
        newer.tunnel.stopService()
        self.network.settle()
        self.assertEqual(len(self.server.tunnel.controls), 1)
        self.session(self.client, 1)

    def test_newer_process_that_comes_too_late(self) -> None:
        """A second of a name is taken for as long as a succession may last, and only so many of them."""
        processes = [self.client]
        while len(processes) < limits.CLIENT_PROCESSES_MOST:
            processes.append(self.newer(processes[-1]))
        self.assertIsNone(self.newer(processes[-1]).tunnel.control)
        processes[0].tunnel.stopService()
        processes[-1].control.moved()
        self.network.advance(limits.SUCCESSION_SECONDS + 1)
        self.assertIsNone(self.another("inner-1").tunnel.control)

    def test_generation_is_the_servers(self) -> None:
        """What one client brought, the second need not bring again."""
        self.client.control.configure(GenerationId(4, STORE), b"four")
        self.network.settle()
        self.assertEqual(self.another("inner-2").control.held.number, 4)


class CertificateLifeTests(SynchronousTestCase):
    """A client is served for as long as the backend renews its certificate."""

    def setUp(self) -> None:
        """A tunnel whose certificate holds for ten minutes, at the time that the wall clock shows."""
        self.network = Network()
        now = datetime.now(UTC)
        self.network.clock.advance(now.timestamp())
        self.shown = credential(
            authority().issue("inner-1", purposes=[CLIENT_AUTH], valid_until=now + timedelta(seconds=600))
        )
        self.server = ServerSide(self.network)
        self.client = ClientSide(self.network, self.server.tunnel.factory, self.shown)
        self.client.tunnel.startService()
        self.network.settle()

    def test_not_renewed(self) -> None:
        """A client that was removed is gone when its certificate ends, though it never lets go of its connection."""
        self.network.advance(590)
        self.assertTrue(self.server.control.ready)
        self.network.advance(15)
        self.assertEqual(self.server.user.notes[1][0], "down")
        self.assertIn("expired", str(self.server.user.notes[1][2]))

    def test_renewed(self) -> None:
        """A client whose certificate was renewed goes on: it shows the server the new one."""
        self.client.tunnel.renew(inner(), [identity().proxy_id])
        self.network.advance(900)
        self.assertEqual(self.server.user.notes, [("up", "inner-1")])
        self.client.tunnel.stopService()
        self.network.advance(6)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])

    def test_renewed_while_the_tunnel_comes_up(self) -> None:
        """A certificate that came while the server was dialled is shown as soon as the tunnel is up."""
        self.client.tunnel.stopService()
        self.network.settle()
        self.client = ClientSide(self.network, self.server.tunnel.factory, self.shown)
        self.client.tunnel.startService()
        self.client.tunnel.renew(inner(), [identity().proxy_id])
        self.network.advance(900)
        self.assertEqual([note[0] for note in self.server.user.notes], ["up", "down", "up"])
        self.assertEqual(self.client.control.bond, self.server.control.bond)
        self.assertIsNotNone(self.client.lane._bound)

    def test_renewed_for_somebody_else(self) -> None:
        """A certificate of another client, or of another authority, or none, ends the tunnel and prolongs nothing."""
        other = TestCa.root("Somebody").issue("inner-1", purposes=[CLIENT_AUTH])
        for shown in (inner("inner-2"), credential(other), None):
            control = self.server.control
            known = control.client
            certificate = b"no certificate" if shown is None else shown.der
            proof = (shown or inner()).proof(control.challenge)
            self.client.control.renewed(certificate, proof).addErrback(lambda failure: None)
            self.network.settle()
            self.assertIs(known, control.client)
            self.assertIsNotNone(control.lost)
            self.network.advance(5)
        self.assertEqual([Cause.TUNNEL_UNPROVED.value] * 3, self.server.events.causes("tunnel.violation"))

    def test_renewed_with_what_cannot_be_read(self) -> None:
        """So does a certificate of no version, of no date, or with names that are no text: it is no fault of ours."""
        shown = authority().issue("inner-1", purposes=[CLIENT_AUTH]).certificate
        odd = (of_no_version(shown), of_no_year(shown), named_in_bits(shown, "inner-1"))
        for certificate in odd:
            control = self.server.control
            self.client.control.renewed(certificate, bytes(8)).addErrback(lambda failure: None)
            self.network.settle()
            self.assertIsNotNone(control.lost)
            self.network.advance(5)
        self.assertEqual([Cause.TUNNEL_UNPROVED.value] * 3, self.server.events.causes("tunnel.violation"))

    def test_renewed_without_the_key(self) -> None:
        """Who has a newer certificate and not its key, or a proof from another connection, prolongs nothing."""
        newer = inner()
        for proof in (self.shown.proof(self.server.control.challenge), newer.proof(bytes(32)), b"no proof"):
            control = self.server.control
            known = control.client
            self.client.control.renewed(newer.der, proof).addErrback(lambda failure: None)
            self.network.settle()
            self.assertIs(known, control.client)
            self.assertIsNotNone(control.lost)
            self.network.advance(5)
        self.assertEqual([Cause.TUNNEL_UNPROVED.value] * 3, self.server.events.causes("tunnel.violation"))
        self.assertEqual(self.client.control.challenge, self.server.control.challenge)

    def test_renewed_after_its_removal(self) -> None:
        """A certificate that is withdrawn already ends the tunnel."""
        control = self.server.control
        known = control.client
        self.patch(self.server.tunnel, "_withdrawn", lambda client: client.not_after > known.not_after)
        self.client.tunnel.renew(inner(), [identity().proxy_id])
        self.network.settle()
        self.assertIsNotNone(control.lost)
        self.assertEqual([Cause.TUNNEL_WITHDRAWN.value], self.server.events.causes("tunnel.violation"))


class VersionTests(SynchronousTestCase):
    """Parts that do not go together are told apart, by name, in both pairs and both directions."""

    def refused(self, served: TunnelKind, dialled: TunnelKind, newer: Side | None = None) -> list[Mapping[str, Any]]:
        """Dial; what the server and the client say of it.

        :param newer: which of them is of a later version and protocol.
        """
        network = Network()
        versions = {side: "9.4.0" if side is newer else __version__ for side in Side}
        server = ServerSide(network, version=versions[Side.SERVER], kind=served)
        client = ClientSide(network, server.tunnel.factory, version=versions[Side.CLIENT], kind=dialled)
        if newer is Side.SERVER:
            server.tunnel._part = attrs.evolve(server.tunnel._part, oldest=NEWEST + 1, newest=NEWEST + 2)
        elif newer is Side.CLIENT:
            client.tunnel._part = attrs.evolve(client.tunnel._part, oldest=NEWEST + 1, newest=NEWEST + 2)
        client.tunnel.startService()
        network.settle()
        self.assertEqual((server.user.notes, client.user.notes), ([], []))
        return [end.events.named("tunnel.refused")[0] for end in (server, client)]

    def test_refused_with_both_versions_and_what_to_update(self) -> None:
        """Whichever is too old, both ends say both versions and which program to update."""
        for kind in (SMART, plain(1)):
            for newer, older in ((Side.SERVER, kind.client), (Side.CLIENT, kind.server)):
                for event in self.refused(kind, kind, newer):
                    self.assertEqual(event["cause"], Cause.TUNNEL_VERSIONS)
                    for words in (f"{older} {__version__}", " 9.4.0", f"update {older} to"):
                        self.assertIn(words, str(event["message"]))

    def test_of_the_other_pair(self) -> None:
        """The two pairs do not go together; both ends say which program belongs there."""
        for served, dialled in ((SMART, plain(1)), (plain(1), SMART)):
            for event in self.refused(served, dialled):
                self.assertEqual(event["cause"], Cause.TUNNEL_PROTOCOL)
                self.assertIn(served.client, str(event["advice"]))
