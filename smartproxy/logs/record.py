"""A record: one event that happened, with its time, its source and its number.

Made by :mod:`smartproxy.logs.emit` for events of this process and by :func:`read` for those that another daemon carried
here; a record that exists has been checked against the catalogue. Trusts nothing that came from elsewhere.
"""

import contextlib
from collections.abc import Mapping
from datetime import datetime
from operator import itemgetter

import attrs

from smartproxy.logs.catalogue import EVENTS, CatalogueError, look_up
from smartproxy.logs.event_types import Emitter
from smartproxy.logs.fields import Value, isotime, read_time
from smartproxy.logs.levels import LEVEL_CHANGED
from smartproxy.logs.render import clean, line
from smartproxy.logs.severity import Severity
from smartproxy.policy.limits import NUMBER_MOST

_OWN_KEYS = frozenset({"name", "time", "level", "source", "sequence"})
_ALWAYS = itemgetter("name", "time", "source", "sequence")
_NO_RECORD = "a record has a name, a time, a source and a sequence number"
_SOURCE_MOST = 64
_STAMP = len("2026-11-20T12:00:00.000Z")


@attrs.frozen(init=False)
class Record:
    """One event that happened.

    :ivar sequence: counts the records of one process that are carried to the backend, from 1, so that a gap is seen;
        ``None`` for those that stay where they are.
    :ivar level: what the catalogue gives the event; a change of the level is told at the level that it leads to.
    :ivar stamp: the time as text, ISO 8601 in UTC.
    :ivar shown: the fields with everything that came from outside escaped and cut short.
    """

    name: str
    time: datetime
    source: str
    sequence: int | None
    fields: Mapping[str, Value]
    level: Severity
    stamp: str = attrs.field(repr=False, eq=False)
    shown: Mapping[str, Value] = attrs.field(repr=False, eq=False)

    def __init__(
        self,
        name: str,
        time: datetime,
        source: str,
        sequence: int | None,
        fields: Mapping[str, Value],
        stamp: str | None = None,
    ) -> None:
        level = EVENTS[name].level
        if name == LEVEL_CHANGED:
            with contextlib.suppress(ValueError):
                level = Severity.named(str(fields.get("mode")))
        self.__attrs_init__(name, time, source, sequence, fields, level, stamp or isotime(time), clean(fields))

    def document(self) -> dict[str, Value]:
        """The record as a flat JSON object, with everything that came from outside escaped and cut short."""
        number: dict[str, Value] = {} if self.sequence is None else {"sequence": self.sequence}
        return {
            "time": self.stamp,
            "level": self.level.label,
            "name": self.name,
            "source": self.source,
            **number,
            **self.shown,
        }

    def __str__(self) -> str:
        """The record without time and level, as text that is safe on any terminal."""
        return line(self.name, self.shown)


def read(document: Mapping[str, object], sources: Emitter | None = None) -> Record:
    """Check a record that came from another daemon.

    :param sources: the daemons whose records may come this way, each with the events that it emits; any if not given,
        as for our own.
    :raises CatalogueError: when it is not one; the message names what is wrong, never a value.
    """
    # A match statement would take as long as all of the fields.
    try:
        name, time, source, sequence = _ALWAYS(document)
    except (KeyError, TypeError):
        raise CatalogueError(_NO_RECORD) from None
    if not (isinstance(name, str) and isinstance(time, str) and isinstance(source, str) and isinstance(sequence, int)):
        raise CatalogueError(_NO_RECORD)
    event = look_up(name)
    if len(source) > _SOURCE_MOST or isinstance(sequence, bool) or not 0 <= sequence <= NUMBER_MOST:
        raise CatalogueError(f"{name}: source or sequence number out of range")
    if sources is not None:
        if not sources.named(source):
            raise CatalogueError(f"{name}: its source is not {sources}")
        if not event.emitters.named(source):
            raise CatalogueError(f"{name}: no event of a {source}")
    try:
        moment = read_time(time)
    except ValueError as error:
        raise CatalogueError(f"{name}: time {error}") from None
    fields = dict(document)
    for key in _OWN_KEYS:
        fields.pop(key, None)
    # Our daemons write times as they are kept: such a text need not be written again.
    stamp = time if len(time) == _STAMP and time[-1] == "Z" else None
    return Record(name, moment, source, sequence, event.check(fields), stamp)
