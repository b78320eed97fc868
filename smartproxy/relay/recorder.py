"""Keeps which side said which command when, until the session is over.

Duty: note the commands that were let pass, with the time that it is told, and count DATA and Set Credit between them.
A note costs a few operations: nothing is worded before the end but the few commands that hold many octets. Keeps a
bounded number of commands; passwords and challenges are masked when the record is made
(:mod:`smartproxy.policy.session_record`). Judges nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from smartproxy.oftp2.commands import AUCH, CDT, EERP, NERP, Command
from smartproxy.oftp2.judgement import Observation
from smartproxy.oftp2.monitor import Monitor
from smartproxy.oftp2.roles import ROLES, Role
from smartproxy.oftp2.witness import State
from smartproxy.policy.session_record import DATA, FACT, STEPS_FIRST, STEPS_LAST
from smartproxy.relay.ending import Summary, agreed_facts
from smartproxy.relay.openings import Opening
from smartproxy.relay.reports import plain

_PLAIN: Final = frozenset({str, int})
_OPAQUE: Final = frozenset({EERP, NERP, AUCH})
"""Commands with up to 64 KiB that a record holds by their number only: signatures and challenges are not kept."""


@attrs.frozen
class _Spared:
    """What is kept of a command with opaque octets: it answers as the command does.

    :ivar names: the RFC's names of its fields.
    :ivar values: what they held, as records hold it.
    """

    NAME: str
    names: tuple[str, ...]
    values: tuple[object, ...]

    @classmethod
    def of(cls, command: Command) -> "_Spared":
        """The command without its octets."""
        fields = command.shown()
        return cls(command.NAME, tuple(fields), tuple(plain(value) for value in fields.values()))

    def shown(self) -> dict[str, object]:
        """What it holds by the RFC's field names."""
        return dict(zip(self.names, self.values, strict=True))


_Data = tuple[int, int, int]
"""Buffers, the octets of the file, and Set Credits."""
_Step = tuple[float, Role, Command | _Spared | _Data]
"""When, who, and what."""


class Recorder:
    """Records one session.

    :param seconds: tells the time in seconds, since whenever.
    """

    __slots__ = (
        "_begun",
        "_blocked",
        "_counted",
        "_counters",
        "_credits",
        "_first",
        "_further",
        "_held",
        "_last",
        "_monitor",
        "_opening",
        "_seconds",
        "_session",
        "_setup",
    )

    def __init__(self, session: str, opening: Opening, monitor: Monitor, seconds: Callable[[], float]) -> None:
        self._session = session
        self._opening = opening
        self._monitor = monitor
        self._seconds = seconds
        self._begun = seconds()
        self._setup: float | None = None
        self._first: list[_Step] = []
        self._last: list[_Step] = []
        self._further = self._credits = 0
        self._counters = [(role, monitor.counters[role]) for role in ROLES]
        self._counted = [0, 0]
        self._held: dict[Role, float] = {}
        self._blocked: dict[Role, float] = {}

    def note(self, observations: Sequence[Observation]) -> None:
        """Commands were let pass, with the octets of one read."""
        now = self._seconds()
        for seen in observations:
            value = seen.value
            if value is None:
                continue
            if value.__class__ is CDT:
                self._credits += 1
                continue
            for index, (role, counters) in enumerate(self._counters):
                passed = counters.buffers - counters.commands
                if passed != self._counted[index]:
                    # DATA of this read precede its first command: after that, the other side has to answer.
                    self._data(now, role, passed - self._counted[index], seen)
                    self._counted[index] = passed
            if self._setup is None and seen.state is State.IDLE:
                self._setup = now
            said = _Spared.of(value) if value.__class__ in _OPAQUE else value
            if len(self._first) < STEPS_FIRST:
                self._first.append((now, seen.sender, said))
            else:
                self._add_further((now, seen.sender, said))

    def held(self, leg: Role) -> None:
        """A side is not read: the other one does not take more."""
        self._held.setdefault(leg, self._seconds())

    def released(self, leg: Role) -> None:
        """The side is read again."""
        since = self._held.pop(leg, None)
        if since is not None:
            self._blocked[leg] = self._blocked.get(leg, 0.0) + self._seconds() - since

    def document(self, summary: Summary, began: str) -> dict[str, object]:
        """The record of the session, which is over, as a JSON object.

        :param began: when it began.
        """
        now = self._seconds()
        for index, (role, counters) in enumerate(self._counters):
            passed = counters.buffers - counters.commands
            if passed != self._counted[index]:
                self._data(now, role, passed - self._counted[index], None)
                self._counted[index] = passed
        for leg in list(self._held):
            self.released(leg)
        opening, monitor = self._opening, self._monitor
        partner = opening.partner
        sides = {role: opening.side(role).value for role in ROLES}
        return {
            "session": self._session,
            "partner": opening.facts.partner,
            "peer": opening.facts.peer,
            "began": began,
            "initiator": sides[Role.INITIATOR],
            "lasted": self._offset(now),
            "setup": None if self._setup is None else self._offset(self._setup),
            "outcome": summary.ending.outcome.value,
            "cause": str(summary.ending.cause),
            "agreed": None if monitor.agreed is None else agreed_facts(monitor.agreed),
            "held_partner": round(self._blocked.get(partner, 0.0) * 1000),
            "held_station": round(self._blocked.get(partner.other, 0.0) * 1000),
            "steps": [self._worded(sides, *step) for step in (*self._first, *self._last)],
            "left_out": self._further - len(self._last),
        }

    def _data(self, now: float, role: Role, buffers: int, seen: Observation | None) -> None:
        transfer = self._monitor.transfer if seen is None else seen.transfer
        octets = 0 if transfer is None else transfer.octets
        step = (now, role, (buffers, octets, self._credits))
        self._credits = 0
        if len(self._first) < STEPS_FIRST:
            self._first.append(step)
        else:
            self._add_further(step)

    def _add_further(self, step: _Step) -> None:
        """Keep a step behind the first ones, and the last of them only; few sessions have so many."""
        self._further += 1
        self._last.append(step)
        del self._last[:-STEPS_LAST]

    def _offset(self, moment: float) -> int:
        return max(0, round((moment - self._begun) * 1000))

    def _worded(
        self, sides: Mapping[Role, str], moment: float, role: Role, said: Command | _Spared | _Data
    ) -> dict[str, object]:
        fields: dict[str, object]
        if isinstance(said, tuple):
            name = DATA
            fields = dict(zip(("buffers", "octets", "credits"), said, strict=True))
        else:
            name = said.NAME
            fields = said.shown()
            for key, value in fields.items():
                if isinstance(value, str):
                    # The octets of a text were judged, which may be a newline's; most texts are short and harmless.
                    if len(value) > FACT.most or not value.isprintable():
                        fields[key] = FACT.write(value)
                elif value.__class__ not in _PLAIN:
                    fields[key] = plain(value)
        return {"at": self._offset(moment), "by": sides[role], "command": name, "fields": fields}
