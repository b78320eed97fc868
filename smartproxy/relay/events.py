"""What may happen to a session.

Events are facts without consequences: what follows from them stands in :mod:`smartproxy.relay.session`, and of a
session's end in :mod:`smartproxy.relay.ends`.
"""

from typing import TypeAlias

import attrs

from smartproxy.oftp2.roles import Role
from smartproxy.policy.faults import OwnFault
from smartproxy.policy.outcomes import Outcome, Participant
from smartproxy.relay.deadlines import Timer


@attrs.frozen(kw_only=True)
class SharedEnd:
    """What one daemon tells the other of the end of a session, behind its last octet.

    Both report the session with the same values: whichever daemon saw the end, and whose ESID the sides get.

    :ivar outcome: in one word.
    :ivar cause: why, as a code.
    :ivar ended_by: who began the end.
    :ivar reason: the ESID reason code that the offender was told, or that a side sent (RFC 5024 section 5.3.11).
    :ivar message: why, in one sentence of the daemon's own.
    :ivar side: the side that it is about, partner or station; ``None`` if it is neither.
    """

    outcome: Outcome
    cause: str
    ended_by: Participant
    reason: int | None = None
    message: str = ""
    side: Participant | None = None


@attrs.frozen
class Arrived:
    """Octets arrived on a leg, cut anywhere."""

    leg: Role
    octets: bytes


@attrs.frozen
class LegOpened:
    """The leg that an ``Open`` asked for is there."""

    leg: Role


@attrs.frozen
class OpenFailed:
    """The leg that an ``Open`` asked for could not be had."""

    leg: Role
    fault: OwnFault


@attrs.frozen
class Lost:
    """A leg is gone; nothing more happens on it.

    :ivar cause: why, in words of our own.
    """

    leg: Role
    cause: str


@attrs.frozen
class Ended:
    """The far daemon ended its direction of a data connection with the tunnel's end mark.

    :ivar end: how the session ended, as the far daemon says; ``None`` where it does not say it.
    """

    leg: Role
    end: SharedEnd | None = None


@attrs.frozen
class LegFull:
    """More octets wait to be sent on a leg than it likes to hold."""

    leg: Role


@attrs.frozen
class LegDrained:
    """What waited to be sent on a leg is gone."""

    leg: Role


@attrs.frozen
class TimedOut:
    """A deadline passed."""

    timer: Timer


@attrs.frozen
class Stop:
    """The daemon wants the session to end: it drains, or the tunnel is lost, or an operator closes the session.

    :ivar at_once: whether it ends in the middle of a file, too; otherwise at its next idle moment.
    """

    fault: OwnFault
    at_once: bool = True


@attrs.frozen
class Bug:
    """The adapter caught an exception that nobody expected."""


Event: TypeAlias = Arrived | LegOpened | OpenFailed | Lost | Ended | LegFull | LegDrained | TimedOut | Stop | Bug
