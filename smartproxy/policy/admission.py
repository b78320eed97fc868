"""How many connections and sessions there may be, counted exactly.

Duty: count what was let in, by address (IPv4 /32, IPv6 /64), by partner and in all, and refuse what is too much with
the limit's name and value. Counting and deciding are one step, so that no two connections can take the same last place.
Knows no time and no socket: whoever lets somebody in says when he leaves.
"""

from collections import Counter

import attrs

from smartproxy.oftp2.errors import QuotaExceeded
from smartproxy.policy.addresses import address_of, prefix_of
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
        """How many of them are a partner's."""
        return self._partners.total()

    def sessions_of(self, partner: str) -> int:
        """How many are this partner's."""
        return self._partners[partner]

    def enter(self, address: str) -> "Visit":
        """Let a connection in.

        :raises Denied: if there are too many in all, or from this address.
        """
        prefix = prefix_of(address_of(address))
        self._room("connections", self.connections)
        self._room("connections_per_address", self._connections[prefix])
        self._room("unauthenticated_per_address", self._unauthenticated[prefix])
        self._connections[prefix] += 1
        self._unauthenticated[prefix] += 1
        return Visit(admission=self, prefix=prefix)

    def _room(self, limit: str, count: int) -> None:
        value: int = getattr(self.limits, limit)
        if count >= value:
            raise Denied(
                rule=f"quota.{limit}", message=f"the limit {limit} of {value} is reached", limit=limit, value=value
            )

    def _prove(self, prefix: str, partner: str) -> None:
        self._room("sessions", self.sessions)
        self._room("sessions_per_partner", self._partners[partner])
        self._partners[partner] += 1
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
