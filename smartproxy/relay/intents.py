"""What a session wants done.

Intents are carried out in their order by an adapter (:mod:`smartproxy.net.driver`), which decides nothing. Events for
the log are intents too, so that tests see them.
"""

from collections.abc import Mapping
from typing import TypeAlias

import attrs

from smartproxy.oftp2.roles import Role
from smartproxy.policy.faults import OwnFault
from smartproxy.relay.deadlines import Timer
from smartproxy.relay.ending import Summary
from smartproxy.relay.events import SharedEnd
from smartproxy.relay.openings import SessionFacts


@attrs.frozen
class Send:
    """Send octets on a leg: whole Stream Transmission Buffers, in one write."""

    leg: Role
    octets: bytes


@attrs.frozen
class Finish:
    """Deliver what was sent on a leg, then end it by its own rules.

    :ivar end: what the other daemon is told, on the leg through the tunnel.
    """

    leg: Role
    end: SharedEnd | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Abort:
    """End a leg now, or stop trying to open it.

    :ivar end: what the other daemon is told, where the leg through the tunnel is not there yet.
    """

    leg: Role
    end: SharedEnd | None = attrs.field(default=None, eq=False)


@attrs.frozen
class Open:
    """Open a leg; ``LegOpened`` or ``OpenFailed`` follows.

    :ivar facts: what the other daemon is told about the session.
    """

    leg: Role
    facts: SessionFacts


@attrs.frozen
class Ready:
    """The other side greeted: tell the other daemon that the session can begin."""


@attrs.frozen
class NotReady:
    """The session cannot begin: tell the other daemon why."""

    fault: OwnFault


@attrs.frozen
class Pause:
    """Deliver no more octets from a leg."""

    leg: Role


@attrs.frozen
class Resume:
    """Go on delivering octets from a leg."""

    leg: Role


@attrs.frozen
class Arm:
    """Start a deadline, or start it anew."""

    timer: Timer
    seconds: float


@attrs.frozen
class Disarm:
    """Forget a deadline."""

    timer: Timer


@attrs.frozen
class Tell:
    """Write an event; ``name`` and ``fields`` are those of the catalogue."""

    name: str
    fields: Mapping[str, object]


@attrs.frozen
class Done:
    """The session is over and holds nothing any more. Always the last intent."""

    summary: Summary


Intent: TypeAlias = Send | Finish | Abort | Open | Ready | NotReady | Pause | Resume | Arm | Disarm | Tell | Done
