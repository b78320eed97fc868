"""Who let a deadline pass.

Duty: name the one entity for which the other, and the proxy, had to wait; it is told ESID 09, the other one 99. Read
from the witness table alone: whoever may send something else than ESID in the present state has the turn. Standards:
RFC 5024 sections 5.3.11, 9.10 and 9.12.
"""

from collections.abc import Set
from typing import Final

from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Role
from smartproxy.oftp2.states import TABLE
from smartproxy.oftp2.witness import Party, State
from smartproxy.policy.settings import Deadlines
from smartproxy.relay.timers import BUFFER_TIMERS, Timer

_NOT_THERE: Final = {
    Timer.OPENING: "did not greet in time",
    Timer.AUTHENTICATION: "did not greet before the {seconds} s until the end of authentication were over",
    Timer.RESPONDER_BUFFER: "began to greet and let {seconds} s pass",
}
"""What the Responder did, by the deadline that passed before he had greeted."""

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
    """What is said of a Responder who has not greeted when a deadline passes."""
    return _NOT_THERE[timer].format(seconds=getattr(deadlines, timer.setting))


def awaited(monitor: Monitor) -> Role:
    """The entity whose turn it is; while a file is sent, the Speaker as long as he has credit."""
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
