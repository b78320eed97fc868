"""The stage table: what a session does when something happens to it, by how far it is.

One row a stage, one column an event; each cell names the one reaction, and :mod:`smartproxy.relay.session` and
:mod:`smartproxy.relay.ends` carry it out. An event that a stage ignores says so; an empty cell is an event that cannot
happen in that stage: it is a bug of ours, raised as one, and ends the session as bugs do. Reactions alone lead from one
stage to the next, never back.
"""

import enum
from collections.abc import Mapping
from typing import Final

from smartproxy.oftp2.roles import Symbol
from smartproxy.relay import events


class Stage(Symbol):
    """How far a session is."""

    IDENTIFYING = "identifying"
    """The proxy greeted the Initiator and awaits its SSID."""
    OPENING = "opening"
    """The Responder's leg is asked for."""
    GREETING = "greeting"
    """The Responder's leg is there, its SSRM is awaited."""
    NEGOTIATING = "negotiating"
    """Initiator and Responder talk to each other; they have not agreed yet, or not proved who they are."""
    RELAYING = "relaying"
    """Both SSIDs, and secure authentication if agreed, are done."""
    LEAVING = "leaving"
    """The two go on with what they do; the session ends as soon as they are idle."""
    ENDING = "ending"
    """Nothing is relayed any more; the legs close."""

    @property
    def joined(self) -> bool:
        """Whether Initiator and Responder talk to each other."""
        return self in (Stage.NEGOTIATING, Stage.RELAYING, Stage.LEAVING)

    @property
    def phase(self) -> str:
        """The name that events have for it."""
        return Stage.RELAYING.value if self.joined else self.value


class Reaction(Symbol):
    """What a session does about an event."""

    IGNORE = enum.auto()
    """Nothing: it is of no importance any more."""
    JUDGE = enum.auto()
    """Judge octets, and relay what is right."""
    DISCARD = enum.auto()
    """Count octets that nobody wants any more."""
    JOIN = enum.auto()
    """The Responder's leg is there: hand over the SSID that waits, or await SSRM."""
    GIVE_BACK = enum.auto()
    """Close a leg that came too late."""
    EXCUSE = enum.auto()
    """Tell the Initiator that the Responder cannot be reached."""
    LOSE = enum.auto()
    """End, since a leg is gone."""
    CLOSE = enum.auto()
    """Take note of a leg that closed; the last one closes the session."""
    CUT = enum.auto()
    """End as the other daemon did."""
    SETTLE = enum.auto()
    """Both daemons ended the session: the server's ending counts."""
    NOTE_FULL = enum.auto()
    """Remember that a leg takes nothing."""
    NOTE_DRAINED = enum.auto()
    """Remember that a leg takes octets again."""
    HOLD_BACK = enum.auto()
    """Stop reading from the side whose octets are not taken."""
    LET_GO = enum.auto()
    """Read again."""
    BLAME = enum.auto()
    """End; whoever had the turn is told that it is late."""
    MISS = enum.auto()
    """As BLAME for a buffer that the Initiator began; otherwise as EXCUSE: nobody is late but the Responder."""
    ABORT = enum.auto()
    """Abort the legs that did not close."""
    STOP = enum.auto()
    """End, since this site wants it."""
    STOP_IDLE = enum.auto()
    """The same; if that can wait, as soon as the two are idle."""
    FAIL = enum.auto()
    """End because of a bug."""
    GIVE_UP = enum.auto()
    """Abort everything, because of a second bug."""


_COLUMNS: Final[tuple[type[events.Event], ...]] = (
    events.Arrived,
    events.LegOpened,
    events.OpenFailed,
    events.Lost,
    events.Ended,
    events.TimedOut,
    events.LegFull,
    events.LegDrained,
    events.Stop,
    events.Bug,
)
_R = Reaction
_RELAYED: Final = (
    _R.JUDGE, None, None, _R.LOSE, _R.CUT, _R.BLAME, _R.HOLD_BACK, _R.LET_GO, _R.STOP_IDLE, _R.FAIL
)  # fmt: skip
# Arrived, LegOpened, OpenFailed, Lost, Ended, TimedOut, LegFull, LegDrained, Stop, Bug
_ROWS: Final[Mapping[Stage, tuple[Reaction | None, ...]]] = {
    Stage.IDENTIFYING: (
        _R.JUDGE, None, None, _R.LOSE, None, _R.BLAME, _R.NOTE_FULL, _R.NOTE_DRAINED, _R.STOP, _R.FAIL
    ),
    Stage.OPENING: (
        _R.JUDGE, _R.JOIN, _R.EXCUSE, _R.LOSE, _R.CUT, _R.MISS, _R.NOTE_FULL, _R.NOTE_DRAINED, _R.STOP, _R.FAIL
    ),
    Stage.GREETING: (
        _R.JUDGE, None, None, _R.LOSE, _R.CUT, _R.MISS, _R.NOTE_FULL, _R.NOTE_DRAINED, _R.STOP, _R.FAIL
    ),
    Stage.NEGOTIATING: _RELAYED,
    Stage.RELAYING: _RELAYED,
    Stage.LEAVING: _RELAYED,
    Stage.ENDING: (
        _R.DISCARD, _R.GIVE_BACK, _R.IGNORE, _R.CLOSE, _R.SETTLE, _R.ABORT, _R.IGNORE, _R.IGNORE, _R.IGNORE, _R.GIVE_UP
    ),
}  # fmt: skip

TABLE: Final[Mapping[tuple[Stage, type[events.Event]], Reaction]] = {
    (stage, event): reaction
    for stage, row in _ROWS.items()
    for event, reaction in zip(_COLUMNS, row, strict=True)
    if reaction is not None
}
"""What is done about an event in a stage."""
