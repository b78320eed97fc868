"""The deadlines of a session, by name, and who let one pass.

A session asks for them with the intents ``Arm`` and ``Disarm`` and is told with the event ``Expired``; how long each
lasts is the configuration's affair. All are absolute but the inactivity time.

Duty: name the one entity for which the other, and the proxy, had to wait; it is told ESID 09, the other one 99. Read
from the witness table alone: whoever may send something else than ESID in the present state has the turn. Never looks
at a clock. Standards: RFC 5024 sections 5.3.11 (reason 09), 9.10 and 9.12; the RFC has no deadlines of its own.
"""

from collections.abc import Set
from typing import Final

from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Role, Symbol
from smartproxy.oftp2.states import TABLE
from smartproxy.oftp2.witness import Party, State
from smartproxy.policy.causes import Cause
from smartproxy.policy.settings import Deadlines


class Timer(Symbol):
    """A deadline; the value is its name in events."""

    SSID = "ssid"
    """The Initiator's SSID must be complete."""
    OPENING = "opening"
    """The other side must be there: the tunnel and the station, or the station's SSRM."""
    AUTHENTICATION = "authentication"
    """The Responder's SSID, and secure authentication if agreed, must be done."""
    INITIATOR_BUFFER = "initiator_buffer"
    """An Exchange Buffer that the Initiator started must be complete."""
    RESPONDER_BUFFER = "responder_buffer"
    """An Exchange Buffer that the Responder started must be complete."""
    INACTIVITY = "inactivity"
    """Octets must arrive from either side."""
    CLOSING = "closing"
    """Both connections must be gone."""

    @property
    def setting(self) -> str:
        """The name of the deadline in the configuration."""
        return "buffer" if self in BUFFER_TIMERS.values() else self.value

    @property
    def cause(self) -> Cause:
        """The cause of what ends when it passes."""
        return Cause(f"deadline.{self.setting}")


BUFFER_TIMERS = {Role.INITIATOR: Timer.INITIATOR_BUFFER, Role.RESPONDER: Timer.RESPONDER_BUFFER}
"""The deadline of a started Exchange Buffer, by who sends it."""

_NOT_THERE: Final = {
    Timer.OPENING: "did not greet in time",
    Timer.AUTHENTICATION: "did not greet before the {seconds} s until the end of authentication were over",
    Timer.RESPONDER_BUFFER: "began to greet and let {seconds} s pass",
}
"""What the Responder did, by the deadline that passed before it had greeted."""

_AWAITED: Final = {state: party for state, party, command in TABLE if command not in ("ESID", "CDT")}
"""Who may do something in a state. Only while a file is sent it can be either of them: CDT is what decides that."""


def late_role(timer: Timer, monitor: Monitor, full: Set[Role]) -> Role:
    """The entity that let a deadline pass.

    :param timer: the deadline.
    :param monitor: knows whose turn it is.
    :param full: the entities that do not take what is sent to them: while one does not, the other one cannot be late.
    """
    for role, buffer_timer in BUFFER_TIMERS.items():
        if timer is buffer_timer:
            return role
    if len(full) == 1:
        return next(iter(full))
    return awaited(monitor)


def not_there(timer: Timer, deadlines: Deadlines) -> str:
    """What is said of a Responder that has not greeted when a deadline passes."""
    return _NOT_THERE[timer].format(seconds=getattr(deadlines, timer.setting))


def awaited(monitor: Monitor) -> Role:
    """The entity whose turn it is; while a file is sent, the Speaker as long as it has credit."""
    party = _AWAITED[monitor.state]
    if monitor.state is State.SENDING and monitor.transfer is not None and not monitor.transfer.credit:
        party = Party.LISTENER
    speaker = monitor.speaker or Role.INITIATOR
    return {
        Party.INITIATOR: Role.INITIATOR,
        Party.RESPONDER: Role.RESPONDER,
        Party.SPEAKER: speaker,
        Party.LISTENER: speaker.other,
    }[party]
