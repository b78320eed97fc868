"""Emitting events by name, and what may be told about an exception.

The only way in which events come into being: every part of the program that has something to say holds an
:class:`Events`. A wrong call is a bug of the caller and is reported as one (``internal.error``), beside the event with
what was right of it; it never raises into the caller, because no session may end for the sake of its log.

Strangers decide how often some events happen, so that there is a budget for them: what is more than so many in a
second is neither written nor carried, but counted by prefix and cause, and told once a minute. What the daemon does
about strangers (bans, refused connections) has a share of its own, so that what they do does not hide it; so have
bugs, in case that a stranger can provoke one. All that is carried is within the one budget, except for refusals that
name a partner whose certificate was shown: anybody can show it, and the partner's own are needed most, so that these
have a twentieth beside it. Details for the log alone have as much again. Another process of this daemon, which may
have been taken over, has a budget of its own for its bugs and for whom it names.

An exception's message can hold octets of a peer or a secret (``int(b"...")`` quotes its argument), and a traceback's
source lines and variables still more. :func:`describe` therefore tells the class, the calls by file, line and function,
and the message only of classes whose messages never quote data.
"""

import enum
import os
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Protocol

import attrs
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import LogEvent, Logger
from twisted.python.failure import Failure

from smartproxy.logs.catalogue import EVENTS, STRANGERS, UNPROVED, CatalogueError, EventType
from smartproxy.logs.clock import Clock, now
from smartproxy.logs.fields import Value
from smartproxy.logs.levels import EVERYTHING, LEVEL_CHANGED, Levels
from smartproxy.logs.record import Record
from smartproxy.logs.severity import Severity
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import limits
from smartproxy.policy.addresses import BadHostPort, HostPort, prefix_of
from smartproxy.policy.budget import Budgets, Tally, Uncounted
from smartproxy.policy.causes import Cause

RECORD_KEY = "smartproxy_record"
"""Where a Twisted log entry holds the record; observers that do not know it show the record's text."""
_FORMAT = "{" + RECORD_KEY + "}"
_BUG = "internal.error"


_PROVED = ("client", "partner", "session")
"""Fields that only somebody who proved an identity has, in all events but those of ``UNPROVED``."""


class _Kind(enum.Enum):
    """What a budget is for."""

    CARRIED = enum.auto()
    DECIDED = enum.auto()
    LOGGED = enum.auto()
    BUG = enum.auto()
    CLAIMED = enum.auto()
    """About a partner's certificate, whoever showed it: what strangers leave no room for in the first budget."""
    NAMED = enum.auto()
    """Of somebody whom another process of this daemon says to have proved its identity."""


_DECIDED = frozenset({"connection.refused", "penalty.banned", "penalty.lifted"})
"""What this daemon did about strangers: told also while the budget for what they did is used up."""


_SHARES = {
    _Kind.CARRIED: 0.5,
    _Kind.DECIDED: 0.2,
    _Kind.BUG: 0.3,
    _Kind.CLAIMED: 0.05,
    _Kind.LOGGED: 1.0,
    _Kind.NAMED: 1.0,
}
"""The part of the budget that each kind has.

Those that are carried have the whole of it together, and what is claimed a twentieth beside it.
"""


class EventBudgets(Budgets[_Kind]):
    """What one process may have written of strangers, and of its bugs."""

    def __init__(self) -> None:
        super().__init__(limits.STRANGERS_EVENTS_SECONDS, len(_Kind))


def _prefix(fields: Mapping[str, object]) -> str:
    """The network that an event is about; empty when it names none."""
    network = fields.get("network")
    if isinstance(network, str):
        return network
    peer = str(fields.get("peer") or "")
    try:
        host = HostPort.parse(peer, port_least=0).host
    except BadHostPort:
        host = peer
    try:
        return prefix_of(host)
    except ValueError:
        return ""


class CallingClock(Clock, Protocol):
    """A clock that calls back, too: any ``IReactorTime``."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object) -> IDelayedCall:
        """Call later."""


class Events:
    """The events of one process.

    :param log: where records are written.
    :param forward: called with the JSON form of each record from ``carried`` upwards, to carry it to the backend; its
        failures are reported and otherwise ignored.
    :param clock: what tells the time of day.
    :param source: the daemon's name in its records: ``server``, ``client``, ``backend``.
    :param carried: the lowest level that is carried.
    :ivar callers_unknown: whether no caller proves who it is, as in the plain pair: its sessions' events count as
        strangers'.
    :ivar releveled: called whenever it was told that the levels have changed.
    :ivar levels: what is logged; what is neither logged nor carried is not even worded.
    """

    def __init__(
        self,
        log: Logger,
        forward: Callable[[dict[str, Value]], object] | None,
        clock: CallingClock,
        *,
        source: str = "smartproxy",
        carried: Severity = Severity.INFO,
    ) -> None:
        self.forward = forward
        self.callers_unknown = False
        self.releveled: Callable[[], object] = lambda: None
        self.levels = Levels({EVERYTHING: Severity.TRACE})
        self._log = log
        self._clock = clock
        self._source = source
        self._carried = carried
        self._numbers = count(1)
        self._rate: float = limits.STRANGERS_EVENTS.default
        self._budgets = EventBudgets()
        self._tally = Tally()
        self._telling: IDelayedCall | None = None

    def limit_strangers(self, rate: float) -> None:
        """Write at most *rate* events of strangers in a second."""
        self._rate = rate

    def tell_counted(self) -> None:
        """Tell what was counted and not written so far; for the end of a daemon, and once a minute."""
        if self._telling is not None and self._telling.active():
            self._telling.cancel()
        self._telling = None
        for what, number in self._tally.take(limits.STRANGERS_TOLD_MOST):
            self.emit(
                "strangers.counted",
                event=what.event,
                count=number,
                seconds=limits.STRANGERS_TOLD_SECONDS,
                cause=Cause.STRANGERS_MANY,
                message=f"unverified callers cause more than {self._rate:g} events a second; these were not written, "
                f"their cause: {what.cause}",
                network=what.prefix or None,
                facts={"cause": what.cause},
            )

    def _affords(self, name: str, fields: Mapping[str, object], process: EventBudgets | None = None) -> bool:
        """Whether an event may be written; what may not is counted.

        :param process: the budgets of the process that told the event; ``None`` for this one.
        """
        budgets = self._budgets
        kinds: tuple[_Kind, ...]
        is_named = any(fields.get(each) is not None for each in _PROVED)
        if name == _BUG:
            kinds, budgets = (_Kind.BUG,), budgets if process is None else process
        elif self.callers_unknown and name.startswith("session."):
            kinds = (_Kind.CARRIED,)
        elif name not in STRANGERS:
            return True
        elif is_named and name in UNPROVED:
            kinds = (_Kind.CARRIED, _Kind.CLAIMED)
        elif is_named:
            if process is None:
                return True
            kinds, budgets = (_Kind.NAMED,), process
        elif name in _DECIDED:
            kinds = (_Kind.DECIDED,)
        else:
            kinds = (_Kind.CARRIED if EVENTS[name].level >= self._carried else _Kind.LOGGED,)
        seconds = self._clock.seconds()
        if any(budgets.take(kind, self._rate * _SHARES[kind], seconds) for kind in kinds):
            return True
        cause = fields.get("cause") or fields.get("place") or name
        self._tally.add(Uncounted(name, str(cause), _prefix(fields)))
        if self._telling is None:
            self._telling = self._clock.callLater(limits.STRANGERS_TOLD_SECONDS, self.tell_counted)
        return False

    def emit(self, name: str, /, **fields: object) -> None:
        """Say that an event happened.

        :param name: its name in the catalogue.
        :param fields: its fields; those that are ``None`` are left out.
        """
        event = EVENTS.get(name)
        if event is None:
            failure = Failure(CatalogueError("no event has this name"))
            self._report(failure, place="smartproxy.logs.emit", event=name)
            return
        if event.level < self._carried and not self.wants(name, fields.get("session"), fields.get("partner")):
            return
        if (name in STRANGERS or self.callers_unknown or name == _BUG) and not self._affords(name, fields):
            return
        try:
            checked = event.check(fields)
        except CatalogueError as error:
            self._report(Failure(), place="smartproxy.logs.emit", event=name, detail=error.detail)
            checked = event.salvage(fields)
        record = self._record(event, checked)
        self._write(record)
        self._carry(record)
        if name == LEVEL_CHANGED:
            self.releveled()

    def relay(self, told: Record, process: EventBudgets) -> None:
        """Say that an event happened in another process of this daemon: it counts, is written and carried as ours.

        Such a process may have been taken over. That it names somebody proves nothing, and its bugs need not be any:
        for both it has a budget of its own.

        :param process: its budgets.
        """
        if (told.name in STRANGERS or told.name == _BUG) and not self._affords(told.name, told.fields, process):
            return
        number = next(self._numbers) if told.level >= self._carried else None
        record = Record(told.name, told.time, self._source, number, told.fields)
        self._write(record)
        self._carry(record)

    def wants(self, name: str, session: object = None, partner: object = None) -> bool:
        """Tell whether an event of the catalogue would be logged, for those whose words cost something."""
        level, levels = EVENTS[name].level, self.levels
        if level < levels.lowest and name != LEVEL_CHANGED:
            return False
        return levels.wants(name, level, session, partner)

    def set_level(
        self,
        severity: Severity | None,
        *,
        cause: Cause,
        message: str,
        session: str | None = None,
        partner: str | None = None,
        category: str | None = None,
        client: str | None = None,
    ) -> None:
        """Change what is logged, and record that at the new level.

        :param severity: from here upwards; ``None`` for what was configured.
        :param cause: how it was asked for.
        :param message: who asked for it, in words.
        :param session: for this session only.
        :param partner: for this partner only.
        :param category: for this category only.
        :param client: the client that asked.
        :raises ValueError: for a category that does not exist, and if more than one thing is named.
        """
        level = self.levels.set(severity, session=session, partner=partner, category=category)
        self.emit(
            LEVEL_CHANGED,
            mode=level.label,
            cause=cause,
            message=message,
            session=session,
            partner=partner,
            category=category,
            client=client,
        )

    def log_stored(self, told: Iterable[Record]) -> None:
        """Write to the log what is in the store already: it is not carried there once more."""
        log = Events(self._log, None, self._clock, source=self._source)
        log.levels = self.levels
        for each in told:
            log.emit(each.name, **each.fields)

    def failure(self, place: str, failure: Failure, /, **fields: object) -> None:
        """Report a bug of ours: an exception that nobody expected, and where it was caught.

        The record names the exception's class and the calls that led to it; its message, which could quote a peer or
        a secret, only where :func:`smartproxy.logs.emit.describe` holds it to be harmless.
        """
        if self._affords(_BUG, {**fields, "place": place}):
            record = self._failure_record(place, failure, fields)
            self._write(record, failure)
            self._carry(record)

    def _record(self, event: EventType, fields: Mapping[str, Value]) -> Record:
        number = next(self._numbers) if event.level >= self._carried else None
        return Record(event.name, now(self._clock), self._source, number, fields)

    def _failure_record(self, place: str, failure: Failure, fields: Mapping[str, object]) -> Record:
        told = describe(failure)
        facts = {"exception": told.exception, "frames": told.frames, "message": told.message}
        bug = EVENTS[_BUG]
        return self._record(bug, bug.salvage({**facts, **fields, "place": place}))

    def _report(self, failure: Failure, *, place: str, **fields: object) -> None:
        """Write a bug in the log itself; it is not carried, since carrying may be what failed."""
        if self._affords(_BUG, {**fields, "place": place}):
            self._write(self._failure_record(place, failure, fields), failure)

    def _write(self, record: Record, failure: Failure | None = None) -> None:
        """Trouble Twisted's log with a record only where :attr:`levels` do not drop it anyway."""
        if not self.levels.wants(record.name, record.level, record.fields.get("session"), record.fields.get("partner")):
            return
        # What Logger.emit would make of it, without a search for the level among all that there are.
        entry: LogEvent = {
            RECORD_KEY: record,
            "log_logger": self._log,
            "log_level": record.level.twisted,
            "log_namespace": self._log.namespace,
            "log_source": self._log.source,
            "log_format": _FORMAT,
            "log_time": record.time.timestamp(),
        }
        if failure is not None:
            entry["log_failure"] = failure
        self._log.observer(entry)

    def _carry(self, record: Record) -> None:
        if self.forward is None or record.sequence is None:
            return
        try:
            self.forward(record.document())
        except Exception:
            self._report(Failure(), place="smartproxy.logs.emit.forward", event=record.name)


FRAMES_MOST = 12
"""Calls that are told, counted from where the exception was raised."""

_HARMLESS = (
    AttributeError,
    CatalogueError,
    ConnectError,
    ConnectionDone,
    ConnectionLost,
    ImportError,
    MemoryError,
    NameError,
    NotImplementedError,
    OSError,
    RecursionError,
    SessionFault,
    TypeError,
)


@attrs.frozen
class Told:
    """The parts of an exception that may be written down."""

    exception: str
    frames: str
    message: str | None


def describe(failure: Failure) -> Told:
    """Take from a failure what may be written down."""
    kind = type(failure.value)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    frames = [
        f"{_short(filename)}:{number} {function}" for function, filename, number, _, _ in failure.frames[-FRAMES_MOST:]
    ]
    value = failure.value
    message = str(value) if isinstance(value, _HARMLESS) else None
    return Told(name, " < ".join(reversed(frames)), message)


def _short(filename: str) -> str:
    return os.sep.join(filename.rsplit(os.sep, 2)[-2:])
