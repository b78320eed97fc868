"""A call to a partner, as whoever carries it and whoever has it made speak of it.

Holds values only, so that the two can be in different processes.
"""

import attrs

from smartproxy.oftp2.roles import Profile
from smartproxy.policy.faults import PartnerUnreachable
from smartproxy.relay.openings import Way


@attrs.frozen(kw_only=True)
class WantedCall:
    """What somebody inside asks for.

    :ivar way: how.
    :ivar caller: address and port of the caller inside; ``None`` for a trial.
    :ivar name: the partner's, where the caller's port or an operator names it; else it is the one of host and port.
    :ivar host: host, or name of a partner, that the caller asks for.
    :ivar port: the port that it asks for, if any.
    """

    way: Way
    caller: str | None = None
    name: str = ""
    host: str | None = None
    port: int | None = None


@attrs.frozen(kw_only=True)
class GrantedCall:
    """A partner that is ready.

    :ivar partner: its name.
    :ivar profile: how literally the RFC is read for what it sends.
    :ivar server: the number of the server that has called it.
    :ivar ticket: what the session's data connection shows to that server.
    """

    partner: str
    profile: Profile
    server: int
    ticket: bytes = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class CallDenied(Exception):
    """A partner is not called, or not reached.

    :ivar fault: why.
    :ivar partner: its name, where it is known which one is meant.
    :ivar profile: its profile.
    """

    fault: PartnerUnreachable
    partner: str | None = None
    profile: Profile = Profile.DEFAULT

    def __str__(self) -> str:
        return self.fault.message
