"""Tickets are good once, briefly, and cannot be guessed; what waits for one ends with its client."""

import gc
import secrets
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smartproxy.logs.emit import Events
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import TunnelLost
from smartproxy.tunnel.desk import Desk, TicketOffice
from smartproxy.tunnel.faults import Closing


class TicketTests(SynchronousTestCase):
    """One office."""

    def setUp(self) -> None:
        """A new office."""
        self.office = TicketOffice()

    def session(self, ticket: bytes, now: float) -> str | None:
        """The session that a ticket is good for."""
        issued = self.office.redeem(ticket, now)
        return None if issued is None else issued.session

    def test_redeemed_once(self) -> None:
        """A ticket names its session once."""
        ticket = self.office.issue("one", 0.0)
        self.assertEqual(self.session(ticket, 1.0), "one")
        self.assertIsNone(self.office.redeem(ticket, 1.0))

    def test_good_until_its_last_second(self) -> None:
        """A ticket is good for its time, and not longer."""
        first, second = self.office.issue("one", 5.0), self.office.issue("two", 5.0)
        self.assertEqual(self.session(first, 5.0 + limits.TICKET_SECONDS), "one")
        self.assertIsNone(self.office.redeem(second, 5.001 + limits.TICKET_SECONDS))

    def test_a_late_try_uses_it_up(self) -> None:
        """A ticket that came too late is not good for a clock that goes back."""
        ticket = self.office.issue("one", 0.0)
        self.assertIsNone(self.office.redeem(ticket, 99.0))
        self.assertIsNone(self.office.redeem(ticket, 0.0))

    def test_guesses(self) -> None:
        """Guessed tickets, tickets of other offices, and near misses are good for nothing."""
        ticket = self.office.issue("one", 0.0)
        others = [
            TicketOffice().issue("one", 0.0),
            b"",
            ticket[:-1],
            ticket + b"\0",
            bytes((ticket[0] ^ 1,)) + ticket[1:],
        ]
        for guess in (*others, *(secrets.token_bytes(32) for _ in range(100_000))):
            self.assertIsNone(self.office.redeem(guess, 0.0))
        self.assertEqual(self.session(ticket, 0.0), "one")

    def test_tickets_differ(self) -> None:
        """Tickets are 256 bits, and none comes twice."""
        tickets = {self.office.issue("one", 0.0) for _ in range(1_000)}
        self.assertEqual((len(tickets), {len(ticket) for ticket in tickets}), (1_000, {32}))

    def test_only_digests_are_kept(self) -> None:
        """A look into the office's memory shows no ticket."""
        ticket = self.office.issue("one", 0.0)
        self.assertNotIn(ticket, self.office._issued)

    def test_late_tickets_are_forgotten(self) -> None:
        """Tickets that nobody used do not pile up."""
        for second in range(1_000):
            self.office.issue("one", float(second))
        self.assertLessEqual(len(self.office), limits.TICKET_SECONDS + 1)


class ClientGone(SynchronousTestCase):
    """A client that is lost while it is asked to open a session."""

    def test_while_it_is_asked(self) -> None:
        """The session fails by the loss of the tunnel, and nothing else is said of it: it is no fault of ours."""
        desk = Desk("inner-1", Clock(), cast(Events, None), worker=1)
        asked: Deferred[None] = Deferred()
        opening = Deferred.fromCoroutine(desk.open_inbound("one", 20, lambda ticket: asked))
        fault = TunnelLost(rule=Cause.TUNNEL_LOST, message="the tunnel is down")
        desk.stop(Closing(Cause.TUNNEL_LOST, "test"), fault)
        self.assertNoResult(opening)
        asked.errback(TunnelLost(rule=Cause.TUNNEL_LOST, message="the client is gone"))
        self.failureResultOf(opening, TunnelLost)
        del opening, desk
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])
