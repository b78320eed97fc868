"""How sessions and files end, in one word, and who takes part in a session.

The values are codes: events, the tunnel, the store and the command have them. Knows no reason: see
:class:`~smartproxy.policy.causes.Cause`. Standards: RFC 5024 sections 5.3.4 to 5.3.9 (SFPA to EFNA), 5.3.11 (ESID).
"""

import enum
from typing import Final

RUNNING: Final = "running"
"""What stands in an outcome's place while no end was told."""


class Outcome(enum.StrEnum):
    """How a session ended; the value is its code."""

    COMPLETED = "completed"
    """With ESID 00."""
    ABORTED = "aborted"
    """With any other ESID of a peer."""
    VIOLATED = "violated"
    """A peer broke the protocol."""
    REFUSED = "refused"
    """Policy did not accept it."""
    EXPIRED = "expired"
    """A deadline passed."""
    LOST = "lost"
    """A connection was lost."""
    UNREACHABLE = "unreachable"
    """The other side could not be reached."""
    STOPPED = "stopped"
    """This site stopped it: a daemon drains, an operator or a withdrawal ended it."""
    FAILED = "failed"
    """A bug of ours."""


SESSION_OUTCOMES: Final = (*(each.value for each in Outcome), RUNNING)
"""How a session can be, for who looks for sessions."""


class Participant(enum.StrEnum):
    """Who takes part in a session, and may have begun its end; the value is its code."""

    PARTNER = "partner"
    """The partner: by ESID, by a violation, by its silence, or because its connection is gone."""
    STATION = "station"
    """The station, in one of the same ways."""
    SERVER = "server"
    """The server: by policy, because it stops, or by a bug."""
    CLIENT = "client"
    """The client, in one of the same ways."""
    OPERATOR = "operator"
    """An operator, with ``smartproxy ctl kill``."""
    NOBODY = "nobody"
    """The tunnel was lost."""


class TransferOutcome(enum.StrEnum):
    """How the transfer of a file ended."""

    COMPLETED = "completed"
    """The receiver answered EFID with EFPA."""
    REFUSED = "refused"
    """The receiver answered SFID with SFNA, or EFID with EFNA."""
    UNCONFIRMED = "unconfirmed"
    """Sent whole, but the session ended before the receiver answered EFID."""
    LOST = "lost"
    """The session ended before the file was sent whole."""
    RUNNING = "running"
    """Accepted, and no end was told yet; no event says it."""
