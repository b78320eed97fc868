"""The two legs of a session: how far each of them is, and what is last said over it.

Duty: know which legs are there, whether an ESID would be understood at their ends, and make what ends them. Decides
neither when a session ends nor with which reason: :mod:`smartproxy.relay.ends` does.

Standards: RFC 5024 sections 3.4.2 (abnormal release), 4.6 and 5.3.11 (ESID).
"""

import enum
from collections.abc import Iterator, Mapping
from typing import Final

from smartproxy.oftp2 import codec
from smartproxy.oftp2.errors import EsidReason
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import Level, Role, Symbol
from smartproxy.relay.ending import Ending
from smartproxy.relay.intents import Abort, Finish, Intent, Send
from smartproxy.relay.openings import Mode, Opening
from smartproxy.relay.stages import Stage

Reasons = Mapping[Role, EsidReason]
"""Who is to be told of an end, and with which reason code."""

_NONE: Final[Mapping[Role, Level]] = {}


class LegState(Symbol):
    """How far a leg is."""

    ABSENT = enum.auto()
    ASKED_FOR = enum.auto()
    OPEN = enum.auto()
    GONE = enum.auto()


class Legs:
    """The legs of one session; the Initiator's is there from the beginning.

    :param opening: who is greeted, and by whom.
    :param monitor: knows at which level ESID is to be written.
    :ivar excuse: what ESID says in the place of its reason's own words, if anything.
    """

    __slots__ = ("_initiator", "_levels", "_monitor", "_opening", "_responder", "excuse")

    def __init__(self, opening: Opening, monitor: Monitor) -> None:
        self.excuse = ""
        self._opening = opening
        self._monitor = monitor
        self._levels = _NONE
        self._initiator, self._responder = LegState.OPEN, LegState.ABSENT

    def become(self, role: Role, state: LegState) -> None:
        """Take note of how far a leg is."""
        if role is Role.INITIATOR:
            self._initiator = state
        else:
            self._responder = state

    def is_open(self, role: Role) -> bool:
        """Whether octets can be sent over a leg."""
        return (self._initiator if role is Role.INITIATOR else self._responder) is LegState.OPEN

    @property
    def open(self) -> list[Role]:
        """The legs that are open."""
        states = ((Role.INITIATOR, self._initiator), (Role.RESPONDER, self._responder))
        return [role for role, state in states if state is LegState.OPEN]

    def told(self, reasons: Reasons, stage: Stage) -> dict[Role, str]:
        """What each side hears of an end, in words."""
        return {
            role: reasons[role].label if role in reasons and self._listens(role, stage) else "closed"
            for role in self.open
        }

    def end(self, reasons: Reasons, stage: Stage, ending: Ending) -> Iterator[Intent]:
        """Tell whoever can be told, close what is open, and give up what is asked for.

        The leg through the tunnel gets no ESID: the other daemon is told of the ending itself, and writes the ESID.
        """
        for role, state in ((Role.INITIATOR, self._initiator), (Role.RESPONDER, self._responder)):
            if state is LegState.OPEN:
                if role is self._opening.tunnel:
                    yield Finish(role, ending.shared(self._opening))
                    continue
                if role in reasons and self._listens(role, stage):
                    yield Send(role, self._esid(role, reasons[role], ending))
                yield Finish(role)
            elif state is LegState.ASKED_FOR:
                self.become(role, LegState.GONE)
                yield Abort(role, ending.shared(self._opening) if role is self._opening.tunnel else None)

    def abort(self) -> Iterator[Intent]:
        """Close what is open, without another word."""
        return (Abort(role) for role in self.open)

    def _esid(self, role: Role, reason: EsidReason, ending: Ending) -> bytes:
        words = ending.text if reason is EsidReason.UNSPECIFIED_ABORT else reason.phrase
        level = self._levels.get(role, self._monitor.level_for_esid)
        return codec.esid(reason, self.excuse or words, level, self._monitor.room_for_esid)

    def withhold(self, role: Role, level: Level) -> None:
        """An SSID is not handed on to a role, which knows of no other release level than this one."""
        self._levels = {**self._levels, role: level}

    def _listens(self, role: Role, stage: Stage) -> bool:
        """Whether SSRM was exchanged with a role: before it, there is nobody to whom ESID could mean something."""
        return stage.joined or (self._opening.mode is Mode.GREET and role is Role.INITIATOR)
