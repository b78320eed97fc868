"""Observers for Twisted's log: one line of text or one line of JSON for each entry.

Records of the catalogue and everything else that Twisted and its users log (names of factories, failures, other
libraries' words) go through the same escaping, so that an entry is exactly one line, whatever a peer put into it. A
line is written in one piece and flushed: after a crash at most the last one is torn.

A daemon's log is ``Selection(levels, ...)`` around what :mod:`smartproxy.logs.log` puts together.

A log that cannot be written must never stop a session, and must not be silent either: an :class:`AppenderTrouble` tells
a failure once, to standard error and, as an event, to the other appenders, and tells again when it is over.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Protocol

import attrs
from twisted.logger import ILogObserver, LogEvent, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.logs.emit import RECORD_KEY, describe
from smartproxy.logs.fields import isotime
from smartproxy.logs.levels import EVERYTHING, FOREIGN, Levels, heading, subject
from smartproxy.logs.record import Record
from smartproxy.logs.render import OWN_MOST, escape, line
from smartproxy.logs.severity import Severity
from smartproxy.policy.causes import Cause

_LEGACY_FAILURE = "failure"
_LEVEL_WIDTH = max(len(severity.label) for severity in Severity)
_SHOWN_LEVELS = {severity: f"{severity.label.upper():{_LEVEL_WIDTH}}" for severity in Severity}


class Stream(Protocol):
    """What a log is written to."""

    def write(self, text: str, /) -> object:
        """Take a text."""

    def flush(self) -> object:
        """Hand everything taken so far to the operating system."""


def severity_of(event: LogEvent) -> Severity:
    """Tell the level of an entry, record or not.

    What Twisted has to say for information (factories that start, ports that close) is of use to developers only.
    """
    record = event.get(RECORD_KEY)
    if isinstance(record, Record):
        return record.level
    severity = Severity.of_twisted(event.get("log_level"))
    return Severity.DEBUG if severity is Severity.INFO else severity


@implementer(ILogObserver)
@attrs.define
class Threshold:
    """Passes on the entries from a level upwards; the level may be changed at any time.

    :ivar severity: the lowest level that is passed on.
    """

    severity: Severity
    observer: ILogObserver

    def __call__(self, event: LogEvent) -> None:
        """Pass an entry on, or drop it."""
        if severity_of(event) >= self.severity:
            self.observer(event)


@implementer(ILogObserver)
@attrs.frozen
class Selection:
    """Passes on what the levels of its category, its session and its partner let through."""

    levels: Levels
    observer: ILogObserver

    def __call__(self, event: LogEvent) -> None:
        """Pass an entry on, or drop it."""
        record = event.get(RECORD_KEY)
        if isinstance(record, Record):
            fields = record.fields
            wanted = self.levels.wants(record.name, record.level, fields.get("session"), fields.get("partner"))
        else:
            wanted = self.levels.wants(FOREIGN, severity_of(event))
        if wanted:
            self.observer(event)


@implementer(ILogObserver)
@attrs.frozen
class Categories:
    """Passes on the entries of some categories.

    :ivar names: subjects and headings of the catalogue; those of :mod:`smartproxy.logs.levels`.
    """

    names: frozenset[str]
    observer: ILogObserver

    def __call__(self, event: LogEvent) -> None:
        """Pass an entry on, or drop it."""
        name = name_of(event)
        if not self.names.isdisjoint((EVERYTHING, subject(name), heading(name))):
            self.observer(event)


def name_of(event: LogEvent) -> str:
    """The name of an entry's event; ``log`` for an entry that is no record."""
    record = event.get(RECORD_KEY)
    return record.name if isinstance(record, Record) else FOREIGN


def moment_of(event: LogEvent) -> datetime:
    """When an entry was made."""
    record = event.get(RECORD_KEY)
    return record.time if isinstance(record, Record) else _moment(event)


def words_of(event: LogEvent) -> str:
    """An entry as text, without its time and its level."""
    record = event.get(RECORD_KEY)
    return str(record) if isinstance(record, Record) else _foreign_text(event)


def text_of(event: LogEvent) -> str:
    """An entry as a line: ``time LEVEL name key=value ...``, ``time LEVEL [namespace] words`` if it is no record."""
    record = event.get(RECORD_KEY)
    if isinstance(record, Record):
        return f"{record.stamp} {_SHOWN_LEVELS[record.level]} {line(record.name, record.shown)}"
    severity = severity_of(event).label.upper()
    return f"{isotime(_moment(event))} {severity:{_LEVEL_WIDTH}} {_foreign_text(event)}"


def json_of(event: LogEvent) -> str:
    """An entry as one JSON object in ASCII; an entry that is no record has the name ``log``."""
    record = event.get(RECORD_KEY)
    document = record.document() if isinstance(record, Record) else _foreign_document(event)
    return json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


@implementer(ILogObserver)
@attrs.frozen
class TextObserver:
    """Writes each entry as text."""

    stream: Stream

    def __call__(self, event: LogEvent) -> None:
        """Write one entry."""
        self.stream.write(text_of(event) + "\n")
        self.stream.flush()


@implementer(ILogObserver)
@attrs.frozen
class JsonObserver:
    """Writes each entry as JSON."""

    stream: Stream

    def __call__(self, event: LogEvent) -> None:
        """Write one entry."""
        self.stream.write(json_of(event) + "\n")
        self.stream.flush()


def _moment(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time", 0.0), UTC)


def _foreign_document(event: LogEvent) -> Mapping[str, object]:
    return {
        "time": isotime(_moment(event)),
        "level": severity_of(event).label,
        "name": "log",
        "namespace": escape(str(event.get("log_namespace", "-"))),
        "message": escape(_message(event), OWN_MOST),
        **_failure_fields(event),
    }


def _message(event: LogEvent) -> str:
    if isinstance(event.get(_LEGACY_FAILURE), Failure):
        # The text that twisted.python.log.err makes is the whole traceback, exception's message and source lines.
        return str(event.get("why") or "Unhandled Error")
    return formatEvent(event)


def _foreign_text(event: LogEvent) -> str:
    document = _foreign_document(event)
    words = f"[{document['namespace']}] {document['message']}"
    fields = _failure_fields(event)
    return f"{words} {line('failure', fields)}" if fields else words


def _failure_fields(event: LogEvent) -> dict[str, str]:
    failure = event.get("log_failure", event.get(_LEGACY_FAILURE))
    if not isinstance(failure, Failure):
        return {}
    told = describe(failure)
    fields = {"exception": told.exception, "detail": told.message, "frames": told.frames}
    return {name: escape(text, OWN_MOST) for name, text in fields.items() if text is not None}


Tell = Callable[[str, Mapping[str, object]], None]
"""Told the name of an event and its fields."""


@attrs.define
class AppenderTrouble:
    """Whether an appender works.

    :ivar appender: what it is called: a path, or an address.
    :ivar advice: what an operator can do.
    :ivar cause: why it does not work now; ``None`` while it works.
    :ivar lost: the lines that were lost since it stopped working.
    """

    appender: str
    advice: str
    tell: Tell
    cause: Cause | None = None
    lost: int = 0

    def failed(self, cause: Cause, message: str, lines: int = 1) -> None:
        """Lines are lost, or will be.

        :param message: the cause in words.
        """
        self.lost += lines
        if self.cause is None:
            # Before it is told: telling leads here again.
            self.cause = cause
            self.tell(
                "appender.failed",
                {"appender": self.appender, "cause": cause, "message": message, "advice": self.advice},
            )

    def over(self) -> None:
        """It works."""
        if self.cause is not None:
            lost, self.cause, self.lost = self.lost, None, 0
            self.tell("appender.recovered", {"appender": self.appender, "count": lost})
