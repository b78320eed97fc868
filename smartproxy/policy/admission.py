"""Who is let in, and how often it is told that somebody was not.

Duty: count what was let in, by address (IPv4 /32, IPv6 /64), by partner and in all, and refuse what is too much with
the limit's name and value. Counting and deciding are one step, so that no two connections can take the same last place.
When nearly all places are taken, newcomers are turned away by chance (random early drop): a crowd that comes from many
addresses and proves nothing must not hold every place until its deadlines pass. Where a partner has a session, its next
connection is no newcomer's. Knows no socket and no chance: whoever lets somebody in says when they leave, and brings
the random number.

The same refusal is told now and then instead of each time, with how often it was left out. Whoever is turned away a
thousand times a second must not drown the other events, nor fill the store, nor the memory here: when more are turned
away than are remembered, the rest share one turn. Reads no clock: every call brings the time, in seconds that only ever
grow.
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
    """Everybody who is in.

    :ivar limits: the limits in force; a new generation's may replace them at any time. They do not put anybody out.
    """

    limits: ServerLimits
    _connections: Counter[str] = attrs.field(factory=Counter, init=False)
    _unauthenticated: Counter[str] = attrs.field(factory=Counter, init=False)
    _partners: Counter[str] = attrs.field(factory=Counter, init=False)

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return self._connections.total()

    @property
    def sessions(self) -> int:
        """How many sessions there are: connections of partners, and calls to partners."""
        return self._partners.total()

    def sessions_of(self, partner: str) -> int:
        """How many are this partner's."""
        return self._partners[partner]

    def enter(self, address: str, chance: float = 1.0) -> "Visit":
        """Let a connection in.

        :param chance: a random number from 0 to 1; the lower it is, the earlier a newcomer is turned away. With 1 he is
            only when all places are taken.
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
        """Turn a newcomer away by chance: never below a share of the places, almost always at the last one."""
        taken, value = self.connections, self.limits.connections
        open_to_all = value * numbers.EARLY_DROP_PERCENT / 100
        if chance * (value - open_to_all) < taken - open_to_all:
            raise Denied(
                rule="quota.early",
                message=f"{taken} of {value} connections are taken, and newcomers are turned away by chance",
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
        """Keep a place for a session that begins with a call to the partner, until :meth:`end_call`.

        :raises Denied: if there are too many sessions in all, or of this partner, whoever began them.
        """
        self._room("sessions", self.sessions)
        self._room("sessions_per_partner", self._partners[partner])
        self._partners[partner] += 1

    def end_call(self, partner: str) -> None:
        """Give the place of a call back."""
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
    """One connection that is in.

    :ivar prefix: the address that it counts for.
    :ivar partner: whose it is, once that is proved.
    """

    _admission: Admission
    prefix: str
    partner: str | None = attrs.field(default=None, init=False)
    _left: bool = attrs.field(default=False, init=False)

    def prove(self, partner: str) -> None:
        """The peer has proved that he is *partner*: what was a stranger's connection is now a session.

        :raises Denied: if there are too many sessions in all, or of this partner. He is still in, as a stranger.
        """
        if self.partner is not None or self._left:
            raise ValueError("a connection proves once whose it is, and before it leaves")
        self._admission._prove(self.prefix, partner)
        self.partner = partner

    def leave(self) -> None:
        """The connection is gone; to say so twice does no harm."""
        if not self._left:
            self._left = True
            self._admission._leave(self.prefix, self.partner)


def _take(counter: Counter[str], key: str) -> None:
    """Count one less, and forget whom nothing is counted of any more."""
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


_OTHERS = ("", "")
"""Stands for all that the full table has no room for."""


@attrs.define
class _Told:
    """When something was told last, and how often it was left out since."""

    at: float
    silent: int = 0


class Sparing:
    """What was told, of whom, and when."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()

    def __len__(self) -> int:
        return len(self._told)

    def tell(self, address: str, cause: str, now: float) -> int | None:
        """Whether to tell now that *address* is turned away for *cause*.

        :param address: an address, whose prefix counts; anything else counts as it is.
        :return: how often it was left out before; ``None`` to leave it out this time, too.
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
        """Make room, if there is none, by what may be told again and was not left out lately."""
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
