"""Which events tell of a refusal or an early end; the store marks them, so that they are found among a million others.

Knows an event by its name, its source and its fields alone. Reads nothing.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from smartproxy.policy.outcomes import Outcome

REFUSALS: Final = (
    "certificate.refused",
    "handshake.failed",
    "connection.refused",
    "identity.refused",
    "session.refused",
    "session.withdrawn",
    "session.violation",
    "session.expired",
    "session.failed",
    "outbound.failed",
    "outbound.refused",
    "session.ended",
    "session.abandoned",
)
"""The events that say why a partner could not do what it wanted, the more telling ones of a session first."""
_DMZ: Final = ("server", "client")
"""The daemons whose events can be about a partner: the backend has callers of its own."""
_OUTCOMES: Final[Mapping[str, Outcome]] = {
    "identity.refused": Outcome.REFUSED,
    "session.abandoned": Outcome.LOST,
    "session.failed": Outcome.UNREACHABLE,
    "session.refused": Outcome.REFUSED,
    "session.withdrawn": Outcome.STOPPED,
    "session.violation": Outcome.VIOLATED,
    "session.expired": Outcome.EXPIRED,
}
"""The outcome that an event means by its name, where it does not say it."""

Word = TypeVar("Word", bound=enum.StrEnum)


def tells(name: str, source: str, fields: Mapping[str, Any]) -> bool:
    """Whether an event says why somebody could not do what it wanted: a session that completed does not."""
    return name in REFUSALS and source in _DMZ and outcome_of(name, fields) is not Outcome.COMPLETED


def outcome_of(name: str, fields: Mapping[str, Any]) -> Outcome | None:
    """How a session ended, by an event of it."""
    return member(Outcome, fields.get("outcome")) or _OUTCOMES.get(name)


def member(kind: type[Word], value: object) -> Word | None:
    """The member with this value, if there is one: a daemon of another version may know others."""
    return next((each for each in kind if each == value), None)
