"""The workers of one supervisor as it knows them, and the sessions that they carry.

Duty: keep what is known of a worker; follow what it tells of a session and of its files, so that the end of both can be
told when the worker is dead. A file whose EFID was passed on was sent whole, and may have arrived: it is not confirmed,
and not lost. How many octets both sides sent is not known here; the other daemon tells it.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import attrs
from twisted.internet.defer import Deferred

from smartproxy.logs.emit import EventBudgets, Events
from smartproxy.logs.record import Record
from smartproxy.net.deadline import Deadline
from smartproxy.policy.causes import Cause
from smartproxy.policy.limits import NUMBER_MOST
from smartproxy.policy.outcomes import Outcome, Participant, TransferOutcome
from smartproxy.relay.openings import Direction
from smartproxy.tunnel.boxes import Plain
from smartproxy.tunnel.control import Responder
from smartproxy.tunnel.faults import Closing
from smartproxy.tunnel.vocabulary import TunnelCommand
from smartproxy.workers.link import Link

_OF_A_SESSION: Final = ("code", "release_level")
_OF_A_FILE: Final = ("link", "sender", "dataset", "stamp", "originator", "destination", "format", "size")

_NOTHING: Final[Mapping[str, Any]] = {}


@attrs.define(eq=False, kw_only=True)
class CarriedSession:
    """One session.

    :ivar session: its id.
    :ivar peer: the far end, as text for logs.
    :ivar direction: who called.
    :ivar begun: when it began, by the clock.
    """

    session: str
    partner: str | None
    peer: str
    direction: Direction
    begun: float
    _facts: Mapping[str, Any] = attrs.field(default=_NOTHING, init=False)
    _file: dict[str, Any] | None = attrs.field(default=None, init=False)
    _whole: dict[str, int] | None = attrs.field(default=None, init=False)
    _files_in: int = attrs.field(default=0, init=False)
    _files_out: int = attrs.field(default=0, init=False)

    def observe(self, told: Record) -> None:
        """The worker told an event of the session."""
        fields = told.fields
        match told.name:
            case "session.started":
                self._facts = {name: fields[name] for name in _OF_A_SESSION if name in fields}
            case "file.started":
                self._file, self._whole = {name: fields[name] for name in _OF_A_FILE if name in fields}, None
            case "file.ended":
                completed = fields["outcome"] == TransferOutcome.COMPLETED
                if fields.get("link", "in") == "in":
                    self._files_in += completed
                else:
                    self._files_out += completed
                self._file = None

    def sent(self, octets: int, records: int) -> None:
        """The file that is under way was sent whole."""
        self._whole = {"octets": octets}
        if records <= NUMBER_MOST:
            self._whole["records"] = records

    def tell_lost(self, events: Events, by: Participant, now: float) -> None:
        """Tell the end of the session, and of its file: the worker died.

        :param by: the daemon whose worker it was.
        """
        always = {
            "session": self.session,
            "partner": self.partner,
            "peer": self.peer,
            "direction": self.direction.value,
        }
        unconfirmed = 0
        if self._file is not None:
            unconfirmed = 0 if self._whole is None else 1
            outcome = TransferOutcome.UNCONFIRMED if unconfirmed else TransferOutcome.LOST
            events.emit("file.ended", outcome=outcome, **always, **self._file, **(self._whole or {}))
        events.emit(
            "session.ended",
            **always,
            **self._facts,
            files_in=self._files_in,
            files_out=self._files_out,
            outcome=Outcome.LOST.value,
            cause=Cause.WORKER_LOST,
            message=Cause.WORKER_LOST.meaning,
            ended_by=by.value,
            unconfirmed=unconfirmed,
            duration=now - self.begun,
        )


@attrs.define(eq=False)
class CrewMember:
    """One worker, as its supervisor knows it.

    :ivar number: which one; no number is used twice.
    :ivar begun: when it was made, by the clock.
    :ivar lessons: how many words of :meth:`~smartproxy.workers.crew.Crew.teach` it was born with.
    :ivar pid: its process, once it is known.
    :ivar started: whether it knows who it is, and is told what changes.
    :ivar ready: whether it takes connections.
    :ivar taken: whether it has its one session, where each worker has but one.
    :ivar leaving: whether it is not needed any more, and ends.
    :ivar sessions: the sessions that it carries, by their ids.
    :ivar holds: what it was handed over, each with what has to be done when it dies.
    :ivar status: how its process ended, as ``waitpid`` tells it.
    :ivar lost: why its link is over.
    :ivar budgets: how much it may have written.
    """

    number: int
    begun: float
    link: Link
    lessons: int = 0
    pid: int | None = None
    started: bool = False
    ready: bool = False
    taken: bool = False
    leaving: bool = False
    sessions: dict[str, CarriedSession] = attrs.field(factory=dict)
    holds: dict[object, Callable[[], object]] = attrs.field(factory=dict)
    status: int | None = None
    lost: Closing | None = None
    telling: Deadline | None = None
    budgets: EventBudgets = attrs.field(factory=EventBudgets)

    def tell_no_later(self) -> None:
        """Its death is told now, or with others'."""
        if self.telling is not None:
            self.telling.stop()

    @property
    def load(self) -> int:
        """How much it has to do, compared with others."""
        return max(len(self.sessions), len(self.holds))


class CrewUser(Protocol):
    """A daemon, as its crew sees it."""

    def facts(self) -> dict[str, Plain]:
        """What a worker is told with its first word."""

    def responders(self, member: CrewMember) -> Mapping[type[TunnelCommand], Responder]:
        """What answers the daemon's own questions of a worker."""

    def prepare(self, member: CrewMember) -> Deferred[None]:
        """Bring a worker what it needs before its first connection; one for which this fails is ended."""

    def ready(self, member: CrewMember) -> None:
        """A worker takes connections."""

    def over(self, member: CrewMember, session: str) -> None:
        """A session of a worker is over, or what was to become one."""

    def died(self, member: CrewMember) -> None:
        """A worker is gone, with the sessions that it still has; with none where it was not needed any more."""


def tell_lost(events: Events, sessions: Iterable[CarriedSession], by: Participant, now: float) -> None:
    """Tell the end of the sessions that a worker took along, since it cannot."""
    for carried in sessions:
        carried.tell_lost(events, by, now)
