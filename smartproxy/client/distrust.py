"""What a server may ask of the client: a host in the DMZ may have been taken over.

Duty: let a session begin only as the configuration allows that this client delivered to this server: a partner that is
there and enabled, with one of its codes, its lowest level and its profile, within its number of sessions; and bound how
often each server opens sessions and how many events it reports. What is refused is reported at a limited rate.

A server can hold another generation than the client's newest: that one is on its way, or the server declined it, or
another client has brought a later one. What is right by the newest, or by the one that this server accepted, may begin,
if the newest has the partner and has not disabled it. A server is accused only where it is certain what it holds.
Trusts nothing of a server: one that lies about what it holds is refused all the same.
"""

from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IReactorTime

from smartproxy.client.deliveries import Holding
from smartproxy.logs.emit import Events
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import limits
from smartproxy.policy.admission import Sparing
from smartproxy.policy.budget import Budgets
from smartproxy.policy.causes import Cause
from smartproxy.policy.configuration import Configuration
from smartproxy.policy.faults import StationUnreachable
from smartproxy.policy.identity import judge_code
from smartproxy.policy.partners import Partner
from smartproxy.relay.openings import SessionFacts

_FACT_OCTETS = 1024
"""An event costs one, and one more for each so many characters of it."""

_KNOWN_MOST = 3
"""Configurations whose partners are kept by name: the newest, and what servers hold instead."""


class ServerDistrust:
    """What each server asked for lately.

    :param count: how many sessions there are at a server, by its Proxy ID, of a partner: each server limits its own.
    """

    def __init__(self, events: Events, clock: IReactorTime, count: Callable[[str, str], int]) -> None:
        self._events = events
        self._clock = clock
        self._count = count
        self._openings: Budgets[str] = Budgets(limits.OPENINGS_SECONDS, limits.SERVERS_MOST)
        self._reports: Budgets[str] = Budgets(limits.REPORTS_SECONDS, limits.SERVERS_MOST)
        self._sparing = Sparing()
        self._known: list[tuple[Configuration, dict[str, Partner]]] = []

    def judge_opening(
        self, server: str, peer: str, facts: SessionFacts, newest: Configuration, holding: Holding
    ) -> None:
        """Judge a session that a server wants to open.

        :param server: its Proxy ID.
        :param peer: its address and port.
        :param newest: what is in force at this client.
        :param holding: what the server goes by.
        :raises StationUnreachable: if it may not begin. That a server cannot be trusted is told here; the server tells
            of a session that fails since it holds another generation.
        """
        rate = newest.client.limits.openings_rate
        if not self._openings.take(server, rate, self._clock.seconds()):
            message = f"the server opens more than {rate} sessions a second"
            self._tell(server, peer, Cause.TUNNEL_RATE, message)
            raise StationUnreachable(rule=Cause.TUNNEL_RATE, message=message)
        wrong = self._wrong(server, facts, newest)
        if wrong is None:
            return
        delivered = holding.delivered
        if delivered is not None:
            wrong_there = wrong if delivered is newest else self._wrong(server, facts, delivered)
            if wrong_there is None and self._partner(facts, newest) is not None:
                return
            if wrong_there is not None and holding.is_certain:
                message = f"{wrong_there}, in generation {delivered.generation}"
                self._tell(server, peer, Cause.TUNNEL_NOT_CONFIGURED, message)
                raise StationUnreachable(rule=Cause.TUNNEL_NOT_CONFIGURED, message=message)
        message = f"{wrong}, in generation {newest.generation} of the client; the server may hold another one"
        raise StationUnreachable(rule=Cause.TUNNEL_OTHER_GENERATION, message=message)

    def takes_report(self, server: str, peer: str, fields: Mapping[str, object], rate: int) -> bool:
        """Whether a server may report this, too; if not, it is dropped and told."""
        cost = 1 + len(str(fields)) // _FACT_OCTETS
        if self._reports.take(server, rate, self._clock.seconds(), cost):
            if fields.get("proxy_id", server) == server:
                return True
            # A server's licence, for example, is told by that server alone.
            self.refused_report(server, "the event is about another server")
            return False
        self._tell(server, peer, Cause.TUNNEL_REPORTS, f"more than {rate} events a second")
        return False

    def refused_report(self, server: str, message: str, detail: str | None = None) -> None:
        """Tell of an event that the catalogue does not have in this form.

        :param detail: what the server said, where it is about that.
        """
        cause = Cause.EVENTS_CATALOGUE
        left_out = self._sparing.tell(server, cause, self._clock.seconds())
        if left_out is not None:
            self._events.emit(
                "events.refused", cause=cause, message=message, daemon="server", detail=detail, facts=left_out.facts
            )

    def _wrong(self, server: str, facts: SessionFacts, configuration: Configuration) -> str | None:
        """What of a session is not as the configuration has it; nothing if all is."""
        partner = self._partner(facts, configuration)
        if partner is None:
            return "the server opens a session of a partner that is not configured, or is disabled"
        try:
            judge_code(partner, facts.code or "")
        except SessionFault:
            return "the server opens a session with a code that is not the partner's"
        if facts.level is None or facts.level < partner.lowest_level:
            return "the server opens a session below the partner's lowest level"
        if facts.profile is not partner.profile:
            return "the server opens a session with another profile than the partner's"
        most = configuration.server.limits.sessions_per_partner
        if self._count(server, partner.name) >= most:
            return f"the server opens more than the {most} sessions that a partner may have"
        return None

    def _partner(self, facts: SessionFacts, configuration: Configuration) -> Partner | None:
        """The session's partner, if it is there and enabled."""
        partners = next((partners for known, partners in self._known if known is configuration), None)
        if partners is None:
            partners = {each.name: each for each in configuration.server.partners if each.enabled}
            self._known = [(configuration, partners), *self._known][:_KNOWN_MOST]
        return partners.get(facts.partner or "")

    def _tell(self, server: str, peer: str, cause: Cause, message: str) -> None:
        left_out = self._sparing.tell(server, cause, self._clock.seconds())
        if left_out is not None:
            self._events.emit(
                "tunnel.distrusted", proxy_id=server, peer=peer, cause=cause, message=message, facts=left_out.facts
            )
