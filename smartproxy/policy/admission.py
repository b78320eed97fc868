"""Admission: which connections are accepted, and how often refusals are reported.

Duty: count accepted connections by address (IPv4 /32, IPv6 /64), by partner and in total, and refuse what exceeds a
limit, with the limit's name and value. Counting and deciding are one step, so that no two connections can take the same
last place. When all places are taken, a newcomer takes the place of the oldest connection that has not spoken: a flood
of silent connections from many addresses must not hold every place until its deadlines pass. Nor may one of callers
that say hello and hang: where more than a share of the places is in the handshake, the newcomer takes the place of the
oldest of these. A share of the places is kept for addresses from which a partner was verified lately, or that have a
session. Knows no socket: the calling code reports that a connection spoke and that it ended, and closes one that is
displaced.

Equal refusals are reported once in a while, with the number of those left out: an address that is refused a thousand
times a second must not drown other events or fill the store. The memory here is bounded, too: addresses beyond it share
one report. Reads no clock: every call brings the time, in seconds of a monotonic clock.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from smartproxy.policy import limits as numbers
from smartproxy.policy.addresses import prefix_of
from smartproxy.policy.callbacks import nothing
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import QuotaExceeded
from smartproxy.policy.settings import ServerLimits

_REACHED: Final[Mapping[str, Cause]] = {
    "connections": Cause.QUOTA_CONNECTIONS,
    "connections_per_address": Cause.QUOTA_ADDRESS,
    "unauthenticated_per_address": Cause.QUOTA_UNAUTHENTICATED,
    "sessions": Cause.QUOTA_SESSIONS,
    "sessions_per_partner": Cause.QUOTA_PARTNER,
}
"""What it means that a limit of this name is reached."""


@attrs.define(kw_only=True, eq=False, auto_exc=True, str=False)
class Denied(QuotaExceeded):
    """A limit is reached.

    :ivar limit: its name in the configuration, such as ``sessions_per_partner``.
    :ivar value: its value.
    """

    limit: str
    value: int


@attrs.define(eq=False, kw_only=True)
class Admission:
    """The accepted connections.

    :ivar limits: the limits in force; a new generation may replace them at any time. They end no connection.
    :ivar elsewhere: sessions that go on in older processes of this daemon, by partner: they count against the limits.
    """

    limits: ServerLimits
    elsewhere: Mapping[str, int] = attrs.field(factory=dict, init=False)
    _connections: dict[str, int] = attrs.field(factory=dict, init=False)
    _unauthenticated: dict[str, int] = attrs.field(factory=dict, init=False)
    _partners: dict[str, int] = attrs.field(factory=dict, init=False)
    _count: int = attrs.field(default=0, init=False)
    _silent: "dict[bool, dict[Visit, None]]" = attrs.field(factory=lambda: {False: {}, True: {}}, init=False)
    _shaking: "dict[Visit, None]" = attrs.field(factory=dict, init=False)
    _verified: OrderedDict[str, float] = attrs.field(factory=OrderedDict, init=False)

    @property
    def connections(self) -> int:
        """The number of connections."""
        return self._count

    @property
    def unproved(self) -> int:
        """The number of connections that are not authenticated."""
        return sum(self._unauthenticated.values())

    @property
    def sessions(self) -> int:
        """The number of sessions: connections of authenticated partners, and calls to partners."""
        return sum(self._partners.values()) + sum(self.elsewhere.values())

    def sessions_of(self, partner: str) -> int:
        """The number of sessions with this partner."""
        return self._partners.get(partner, 0) + self.elsewhere.get(partner, 0)

    def counted(self) -> Mapping[str, int]:
        """The number of sessions with each partner, those elsewhere included."""
        return Counter(self._partners) + Counter(self.elsewhere)

    def enter(self, address: str, now: float = 0.0) -> "Visit":
        """Accept a connection, if need be in the place of one that has proved nothing, which is told.

        :param now: the time in seconds of a monotonic clock.
        :raises Denied: if there are too many in all that have spoken, or from this address.
        """
        prefix = prefix_of(address)
        self._room("connections_per_address", self._connections.get(prefix, 0))
        self._room("unauthenticated_per_address", self._unauthenticated.get(prefix, 0))
        known = self.knows(prefix, now)
        self._make_room(known)
        self._count += 1
        self._connections[prefix] = self._connections.get(prefix, 0) + 1
        self._unauthenticated[prefix] = self._unauthenticated.get(prefix, 0) + 1
        visit = Visit(admission=self, prefix=prefix, since=now, known=known)
        self._silent[known][visit] = None
        return visit

    def knows(self, prefix: str, now: float) -> bool:
        """Whether the kept places are for this network: it was verified lately, or has a session."""
        if self._connections.get(prefix, 0) > self._unauthenticated.get(prefix, 0):
            return True
        at = self._verified.get(prefix)
        return at is not None and now - at < numbers.VERIFIED_LATELY_SECONDS

    def _make_room(self, known: bool) -> None:
        """See that there is a place; displace the oldest connection that has not spoken, first of unknown addresses.

        Or, where these have too many in the handshake, the oldest of them.
        """
        value = self.limits.connections
        kept = 0 if known else value * numbers.KEPT_PLACES_PERCENT // 100
        if self._count < value - kept:
            return
        crowded = len(self._shaking) > value * numbers.SHAKING_PERCENT // 100
        oldest = next(iter(self._shaking if crowded else self._silent[False]), None)
        if oldest is None and known:
            oldest = next(iter(self._silent[True]), None)
        if oldest is not None:
            displaced = oldest.displaced
            oldest.leave()
            displaced()
        elif self._count >= value:
            self._room("connections", self._count)
        else:
            raise Denied(
                rule=Cause.QUOTA_EARLY,
                message=f"{self._count} of {value} connections are in use; the others are kept for known addresses",
                limit="connections",
                value=value,
            )

    def _room(self, limit: str, count: int) -> None:
        value: int = getattr(self.limits, limit)
        if count >= value:
            raise Denied(
                rule=_REACHED[limit], message=f"the limit {limit} of {value} is reached", limit=limit, value=value
            )

    def begin_call(self, partner: str) -> None:
        """Reserve a place for a session that starts with a call to the partner, until :meth:`end_call`.

        :raises Denied: if there are too many sessions in all, or of this partner, whoever began them.
        """
        self._room("sessions", self.sessions)
        self._room("sessions_per_partner", self.sessions_of(partner))
        self._partners[partner] = self._partners.get(partner, 0) + 1

    def end_call(self, partner: str) -> None:
        """Release the place of a call."""
        _take(self._partners, partner)

    def _spoke(self, visit: "Visit") -> None:
        self._settle(visit)
        if not visit.known:
            self._shaking[visit] = None

    def _settle(self, visit: "Visit") -> None:
        """No newcomer takes its place any more."""
        self._silent[visit.known].pop(visit, None)
        self._shaking.pop(visit, None)

    def _prove(self, visit: "Visit", partner: str) -> None:
        self._verified[visit.prefix] = visit.since
        self._verified.move_to_end(visit.prefix)
        if len(self._verified) > numbers.VERIFIED_LATELY_MOST:
            self._verified.popitem(last=False)
        self._settle(visit)
        self.begin_call(partner)
        _take(self._unauthenticated, visit.prefix)

    def _leave(self, visit: "Visit") -> None:
        self._settle(visit)
        self._count -= 1
        _take(self._connections, visit.prefix)
        if visit.partner is None:
            _take(self._unauthenticated, visit.prefix)
        else:
            _take(self._partners, visit.partner)


@attrs.define(eq=False, kw_only=True)
class Visit:
    """One accepted connection.

    :ivar prefix: the network that it counts for.
    :ivar since: when it was accepted.
    :ivar known: whether the kept places were open to it.
    :ivar displaced: called when its place is given to another one, before it is authenticated: close it.
    :ivar partner: the partner's name, once it is authenticated.
    """

    _admission: Admission
    prefix: str
    since: float
    known: bool
    displaced: Callable[[], object] = attrs.field(default=nothing, init=False)
    partner: str | None = attrs.field(default=None, init=False)
    _left: bool = attrs.field(default=False, init=False)

    def speak(self, displaced: Callable[[], object] = nothing) -> None:
        """Count the connection as one that has spoken, and is in the handshake.

        :param displaced: called from now on when its place is given to another one.
        """
        if not self._left:
            self.displaced = displaced
            self._admission._spoke(self)

    def prove(self, partner: str) -> None:
        """Count the connection as a session of *partner*, which the peer has authenticated as.

        :raises Denied: if there are too many sessions in total, or of this partner. The connection stays counted as
            not authenticated.
        """
        if self.partner is not None or self._left:
            raise ValueError("a connection is authenticated once, and before it ends")
        self.displaced = nothing
        self._admission._prove(self, partner)
        self.partner = partner

    def leave(self) -> None:
        """Stop counting the connection; a second call has no effect."""
        if not self._left:
            self._left = True
            self.displaced = nothing
            self._admission._leave(self)


def _take(counter: dict[str, int], key: str) -> None:
    """Count one less, and delete counters that reach zero."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


_OTHERS = ("", "")
"""The key of all refusals that the full table has no room for."""


@attrs.define
class _Told:
    """The time of the last report, and the number of refusals left out since."""

    at: float
    silent: int = 0


class LeftOut(int):
    """How many refusals were left out since the last one that was told."""

    @property
    def facts(self) -> dict[str, int] | None:
        """The facts of the event that tells the next one; ``None`` where nothing was left out."""
        return {"not_written_before": int(self)} if self else None


class Sparing:
    """The refusals that were reported, by address and cause."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()

    def __len__(self) -> int:
        return len(self._told)

    def tell(self, address: str, cause: str, now: float) -> LeftOut | None:
        """Decide whether to report that *address* is refused for *cause*.

        :param address: an address, counted by its prefix; any other text counts as it is.
        :return: the number of refusals left out since the last report; ``None`` to leave this one out, too.
        """
        key = (_counted(address), cause)
        self._forget(now)
        if key not in self._told and len(self._told) >= numbers.REFUSED_TOLD_MOST:
            key = _OTHERS
        told = self._told.get(key)
        if told is not None and now - told.at < numbers.REFUSED_TOLD_SECONDS:
            told.silent += 1
            return None
        self._told[key] = _Told(now)
        self._told.move_to_end(key)
        return LeftOut(0 if told is None else told.silent)

    def _forget(self, now: float) -> None:
        """Make room in a full table: delete the oldest entries that may be reported again."""
        while len(self._told) >= numbers.REFUSED_TOLD_MOST:
            key, oldest = next(iter(self._told.items()))
            if now - oldest.at < numbers.REFUSED_TOLD_SECONDS:
                return
            del self._told[key]


def _counted(address: str) -> str:
    try:
        return prefix_of(address) if address else ""
    except ValueError:
        return address
