"""Admission: which connections are accepted, and how often refusals are reported.

Duty: count accepted connections by address (IPv4 /32, IPv6 /64), by partner and in total, and refuse what exceeds a
limit, with the limit's name and value. Counting and deciding are one step, so that no two connections can take the same
last place. When nearly all places are taken, newcomers are refused at random (random early drop): a flood from many
addresses must not hold every place until its deadlines pass. A connection from an address with a session is not a
newcomer. Knows no socket and makes no random numbers: the calling code reports the end of each connection, and passes
the random number.

Equal refusals are reported once in a while, with the number of those left out: an address that is refused a thousand
times a second must not drown other events or fill the store. The memory here is bounded, too: addresses beyond it share
one report. Reads no clock: every call brings the time, in seconds of a monotonic clock.
"""

from collections import Counter, OrderedDict

import attrs

from smartproxy.policy import limits as numbers
from smartproxy.policy.addresses import address_of, prefix_of
from smartproxy.policy.faults import QuotaExceeded
from smartproxy.policy.settings import ServerLimits


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
    """

    limits: ServerLimits
    _connections: Counter[str] = attrs.field(factory=Counter, init=False)
    _unauthenticated: Counter[str] = attrs.field(factory=Counter, init=False)
    _partners: Counter[str] = attrs.field(factory=Counter, init=False)

    @property
    def connections(self) -> int:
        """The number of connections."""
        return self._connections.total()

    @property
    def sessions(self) -> int:
        """The number of sessions: connections of authenticated partners, and calls to partners."""
        return self._partners.total()

    def sessions_of(self, partner: str) -> int:
        """The number of sessions with this partner."""
        return self._partners[partner]

    def enter(self, address: str, chance: float = 1.0) -> "Visit":
        """Accept a connection.

        :param chance: a random number from 0 to 1; the lower it is, the earlier a newcomer is refused. With 1 it is
            refused only when all places are taken.
        :raises Denied: if there are too many in all, or from this address.
        """
        prefix = prefix_of(address_of(address))
        self._room("connections", self.connections)
        if self._connections[prefix] == self._unauthenticated[prefix]:
            self._early_drop(chance)
        self._room("connections_per_address", self._connections[prefix])
        self._room("unauthenticated_per_address", self._unauthenticated[prefix])
        self._connections[prefix] += 1
        self._unauthenticated[prefix] += 1
        return Visit(admission=self, prefix=prefix)

    def _early_drop(self, chance: float) -> None:
        """Refuse a newcomer at random: never below a share of the places, almost always at the last one."""
        taken, value = self.connections, self.limits.connections
        open_to_all = value * numbers.EARLY_DROP_PERCENT / 100
        if chance * (value - open_to_all) < taken - open_to_all:
            raise Denied(
                rule="quota.early",
                message=f"{taken} of {value} connections are in use; newcomers are refused at random",
                limit="connections",
                value=value,
            )

    def _room(self, limit: str, count: int) -> None:
        value: int = getattr(self.limits, limit)
        if count >= value:
            raise Denied(
                rule=f"quota.{limit}", message=f"the limit {limit} of {value} is reached", limit=limit, value=value
            )

    def begin_call(self, partner: str) -> None:
        """Reserve a place for a session that starts with a call to the partner, until :meth:`end_call`.

        :raises Denied: if there are too many sessions in all, or of this partner, whoever began them.
        """
        self._room("sessions", self.sessions)
        self._room("sessions_per_partner", self._partners[partner])
        self._partners[partner] += 1

    def end_call(self, partner: str) -> None:
        """Release the place of a call."""
        _take(self._partners, partner)

    def _prove(self, prefix: str, partner: str) -> None:
        self.begin_call(partner)
        _take(self._unauthenticated, prefix)

    def _leave(self, prefix: str, partner: str | None) -> None:
        _take(self._connections, prefix)
        if partner is None:
            _take(self._unauthenticated, prefix)
        else:
            _take(self._partners, partner)


@attrs.define(eq=False, kw_only=True)
class Visit:
    """One accepted connection.

    :ivar prefix: the network that it counts for.
    :ivar partner: the partner's name, once it is authenticated.
    """

    _admission: Admission
    prefix: str
    partner: str | None = attrs.field(default=None, init=False)
    _left: bool = attrs.field(default=False, init=False)

    def prove(self, partner: str) -> None:
        """Count the connection as a session of *partner*, which the peer has authenticated as.

        :raises Denied: if there are too many sessions in total, or of this partner. The connection stays counted as
            not authenticated.
        """
        if self.partner is not None or self._left:
            raise ValueError("a connection is authenticated once, and before it ends")
        self._admission._prove(self.prefix, partner)
        self.partner = partner

    def leave(self) -> None:
        """Count the connection no more; a second call has no effect."""
        if not self._left:
            self._left = True
            self._admission._leave(self.prefix, self.partner)


def _take(counter: Counter[str], key: str) -> None:
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


class Sparing:
    """The refusals that were reported, by address and cause."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()

    def __len__(self) -> int:
        return len(self._told)

    def tell(self, address: str, cause: str, now: float) -> int | None:
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
        return 0 if told is None else told.silent

    def _forget(self, now: float) -> None:
        """Make room in a full table: delete the oldest entries that may be reported again."""
        while len(self._told) >= numbers.REFUSED_TOLD_MOST:
            key, oldest = next(iter(self._told.items()))
            if now - oldest.at < numbers.REFUSED_TOLD_SECONDS:
                return
            del self._told[key]


def _counted(address: str) -> str:
    try:
        return prefix_of(address_of(address))
    except ValueError:
        return address
