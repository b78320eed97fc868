"""Operations on the events that the store keeps."""

from datetime import UTC, datetime
from typing import Any

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import journal
from smartproxy.backend.journal import Filter, StoredEvent
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyJson, Instantaneous, Word
from smartproxy.logs.severity import Severity
from smartproxy.policy import limits
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.values import Flag, Line, Whole

EVENTS = Family("events", "events")

_TEXT = Line(most=256)
_LEVELS = {each.label: each for each in Severity}


@attrs.frozen(kw_only=True)
class EventsWanted:
    """Which events; what is not given does not matter.

    :ivar name: an event's name, or the beginning of names with its full stop: ``session.``.
    :ivar level: this level and those above it.
    :ivar after: only events that arrived after the one of this number: the cursor.
    :ivar before: only events that happened before the one of this number.
    :ivar limit: how many: without a cursor those that happened last, else the next that arrived.
    :ivar wait: how long the API waits for the first one, where there is none after the cursor.
    """

    name: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(_TEXT), people=ForPeople(help="an event's name, or a subject with its full stop: session.")
        ),
    )
    level: str | None = attrs.field(
        default=None, metadata=kind(Optional(Word(tuple(_LEVELS))), people=ForPeople(help="this level and those above"))
    )
    source: str | None = attrs.field(
        default=None, metadata=kind(Optional(_TEXT), people=ForPeople(help="server, client, backend or command"))
    )
    partner: str | None = attrs.field(default=None, metadata=kind(Optional(_TEXT)))
    session: str | None = attrs.field(default=None, metadata=kind(Optional(_TEXT)))
    since: datetime | None = attrs.field(default=None, metadata=kind(Optional(Instantaneous())))
    until: datetime | None = attrs.field(default=None, metadata=kind(Optional(Instantaneous())))
    after: int | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Whole(limits.EVENT_NUMBER)), people=ForPeople(help="the cursor 'next' of the answer before")
        ),
    )
    before: int | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Whole(limits.EVENT_NUMBER)),
            people=ForPeople(help="only older events than the one of this number"),
        ),
    )
    limit: int = attrs.field(
        default=limits.EVENTS_PAGE.default,
        metadata=kind(
            Whole(limits.EVENTS_PAGE),
            people=ForPeople(help="how many: without a cursor the newest, else the next"),
        ),
    )
    wait: int = attrs.field(
        default=limits.EVENTS_WAIT.default,
        metadata=kind(
            Whole(limits.EVENTS_WAIT),
            people=ForPeople(help="seconds to wait for the first one, if there is none after the cursor"),
        ),
    )

    @property
    def waits(self) -> int:
        """For how many seconds a call may be held."""
        return 0 if self.after is None else self.wait


@attrs.frozen(kw_only=True)
class KnownEvent:
    """An event.

    :ivar number: rises in the order of arrival.
    :ivar fields: what it tells.
    """

    number: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))
    time: datetime = attrs.field(metadata=kind(Instantaneous()))
    level: str = attrs.field(metadata=kind(Word(tuple(_LEVELS))))
    name: str = attrs.field(metadata=kind(_TEXT))
    source: str = attrs.field(metadata=kind(_TEXT))
    fields: dict[str, Any] = attrs.field(metadata=kind(AnyJson()))

    def stored(self) -> StoredEvent:
        """The same as it lies in the store."""
        return StoredEvent(
            number=self.number,
            time=self.time,
            level=_LEVELS[self.level],
            name=self.name,
            source=self.source,
            fields=self.fields,
        )


@attrs.frozen(kw_only=True)
class EventPart:
    """Events: after a cursor in the order of their arrival, else in that of their times.

    :ivar next: the cursor for those that follow, and for those that are still to come.
    """

    items: tuple[KnownEvent, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownEvent))))
    next: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))


@attrs.frozen(kw_only=True)
class EventsOlder:
    """Which events are deleted.

    :ivar before: those that arrived before this time.
    """

    before: datetime = attrs.field(
        metadata=kind(Instantaneous(), people=ForPeople(help="events that arrived before this time"))
    )

    @property
    def spoken(self) -> str:
        """What the audit trail says after the operation's name."""
        return f"--older-than {self.before:%Y-%m-%dT%H:%M}"

    def next_piece(self, session: Session, done: "DeletedEvents") -> "DeletedEvents":
        """Delete some more of them; what is deleted then."""
        piece = journal.forget(session, self.before)
        return DeletedEvents(deleted=done.deleted + piece.events, more=piece.more)


@attrs.frozen(kw_only=True)
class DeletedEvents:
    """Events that are not there any more.

    :ivar deleted: how many.
    :ivar more: whether there may be more to delete: then another call deletes it.
    """

    deleted: int = attrs.field(metadata=kind(Whole(limits.EVENT_NUMBER)))
    more: bool = attrs.field(default=False, metadata=kind(Flag()))


@EVENTS.reading("list", "List events of all daemons: the newest, or those after a cursor.")
def listed(look: Transaction, wanted: EventsWanted) -> EventPart:
    """The events that are wanted."""
    asked = Filter(
        name=wanted.name,
        level=None if wanted.level is None else _LEVELS[wanted.level],
        source=wanted.source,
        partner=wanted.partner,
        session=wanted.session,
        since=wanted.since,
        until=wanted.until,
        after=wanted.after,
        before=wanted.before,
    )
    newest = journal.newest_number(look.session)
    if wanted.after is None:
        found = journal.find(look.session, asked, wanted.limit)
    else:
        found = journal.find(look.session, asked, first=wanted.limit)
    whole = wanted.after is None or len(found) < wanted.limit
    return EventPart(items=tuple(map(known_event, found)), next=newest if whole else found[-1].number)


@EVENTS.acting("prune", "Delete the events that arrived before a time, and what came of what they started.")
def prune(work: Transaction, wanted: EventsOlder) -> DeletedEvents:
    """Delete the events."""
    return wanted.next_piece(work.session, DeletedEvents(deleted=0))


def known_event(event: StoredEvent) -> KnownEvent:
    """An event as it is told."""
    return KnownEvent(
        number=event.number,
        time=event.time.astimezone(UTC),
        level=event.level.label,
        name=event.name,
        source=event.source,
        fields=dict(event.fields),
    )
