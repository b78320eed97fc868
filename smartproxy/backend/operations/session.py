"""Operations on sessions: past and live ones, one with all that is known of it, and what is done about a live one."""

from datetime import UTC, datetime
from typing import Any

import attrs

from smartproxy.backend import ladders, session_list, trials
from smartproxy.backend.errors import NotFound
from smartproxy.backend.ladders import Rung
from smartproxy.backend.operations.events import KnownEvent, known_event
from smartproxy.backend.operations.operation import Family, Transaction
from smartproxy.backend.operations.shapes import AnyText, Instantaneous, JsonObject, Nothing, Word
from smartproxy.backend.session_list import SessionFilter
from smartproxy.backend.session_tables import SessionFileRow, SessionRow
from smartproxy.logs.severity import Severity
from smartproxy.policy import limits
from smartproxy.policy.outcomes import RUNNING, SESSION_OUTCOMES
from smartproxy.policy.portraits import ToldSession
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind
from smartproxy.policy.session_record import OCTETS_MOST, SESSION_ID
from smartproxy.policy.values import Flag, Line, Lines, Whole

SESSION = Family("session", "sessions", key="session")

_TEXT = AnyText()
_COUNT = Whole(limits.EVENT_NUMBER)
_LEVELS = tuple(each.label for each in Severity)


@attrs.frozen(kw_only=True)
class SessionsWanted:
    """Which sessions; what is not given does not matter.

    :ivar file: the beginning of the name of one of its Virtual Files.
    :ivar before: the cursor: only sessions that came before the one of this number.
    """

    partner: str | None = attrs.field(default=None, metadata=kind(Optional(Line())))
    outcome: str | None = attrs.field(
        default=None, metadata=kind(Optional(Word(SESSION_OUTCOMES)), people=ForPeople(help="how it ended, or running"))
    )
    file: str | None = attrs.field(
        default=None,
        metadata=kind(Optional(Line(most=64)), people=ForPeople(help="the beginning of the name of a file in it")),
    )
    since: datetime | None = attrs.field(default=None, metadata=kind(Optional(Instantaneous())))
    until: datetime | None = attrs.field(default=None, metadata=kind(Optional(Instantaneous())))
    before: int | None = attrs.field(
        default=None, metadata=kind(Optional(_COUNT), people=ForPeople(help="the cursor 'next' of the part before"))
    )
    limit: int = attrs.field(
        default=limits.PAGE.default, metadata=kind(Whole(limits.PAGE), people=ForPeople(help="how many"))
    )


@attrs.frozen(kw_only=True)
class SessionNamed:
    """Which session."""

    session: str = attrs.field(metadata=kind(SESSION_ID, people=ForPeople(help="its id")))


@attrs.frozen(kw_only=True)
class KnownFile:
    """A Virtual File of a session.

    :ivar link: ``in`` from the partner, ``out`` to it.
    :ivar octets: of the file, sent in this session.
    """

    dataset: str = attrs.field(metadata=kind(_TEXT))
    link: str = attrs.field(metadata=kind(Word(("in", "out"))))
    outcome: str = attrs.field(metadata=kind(_TEXT))
    octets: int | None = attrs.field(metadata=kind(Optional(_COUNT)))

    @classmethod
    def of(cls, row: SessionFileRow) -> "KnownFile":
        """The file as its row has it."""
        return cls(dataset=row.dataset, link=row.link, outcome=row.outcome, octets=row.octets)


@attrs.frozen(kw_only=True)
class KnownSession:
    """A session.

    :ivar number: rises in the order in which sessions became known.
    :ivar outcome: how it ended; ``running`` while no end was told.
    :ivar files: its Virtual Files that came to an end.
    """

    number: int = attrs.field(metadata=kind(_COUNT))
    session: str = attrs.field(metadata=kind(_TEXT))
    partner: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    direction: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    peer: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    began: datetime = attrs.field(metadata=kind(Instantaneous()))
    ended: datetime | None = attrs.field(metadata=kind(Optional(Instantaneous())))
    outcome: str = attrs.field(metadata=kind(_TEXT))
    cause: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    message: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    octets_in: int = attrs.field(metadata=kind(_COUNT))
    octets_out: int = attrs.field(metadata=kind(_COUNT))
    files_in: int = attrs.field(metadata=kind(_COUNT))
    files_out: int = attrs.field(metadata=kind(_COUNT))
    files: tuple[KnownFile, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownFile))))

    @classmethod
    def of(cls, row: SessionRow, files: "list[SessionFileRow] | tuple[SessionFileRow, ...]") -> "KnownSession":
        """The session as its row and those of its files have it."""
        return cls(
            number=row.id,
            session=row.session,
            partner=row.partner,
            direction=row.direction,
            peer=row.peer,
            began=row.began.astimezone(UTC),
            ended=None if row.ended is None else row.ended.astimezone(UTC),
            outcome=row.outcome or RUNNING,
            cause=row.cause,
            message=row.message,
            octets_in=row.octets_in,
            octets_out=row.octets_out,
            files_in=row.files_in,
            files_out=row.files_out,
            files=tuple(map(KnownFile.of, files[: limits.DOCUMENT_ENTRIES_MOST])),
        )


@attrs.frozen(kw_only=True)
class SessionPart:
    """Sessions, the newest first.

    :ivar next: the cursor for those before them; ``None`` if there are none.
    """

    items: tuple[KnownSession, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownSession))))
    next: int | None = attrs.field(metadata=kind(Optional(_COUNT)))


@attrs.frozen(kw_only=True)
class KnownRung:
    """Something that was said in a session.

    :ivar at: milliseconds since it began; ``None`` where that is not known.
    :ivar gap: milliseconds since what was said before.
    :ivar by: ``partner``, ``station``, or ``proxy`` for what SmartProxy said itself.
    :ivar words: what matters of it.
    :ivar fields: its fields by the RFC's names, secrets masked; of DATA how much it was.
    """

    at: int | None = attrs.field(metadata=kind(Optional(_COUNT)))
    gap: int | None = attrs.field(metadata=kind(Optional(_COUNT)))
    by: str = attrs.field(metadata=kind(_TEXT))
    to: str = attrs.field(metadata=kind(_TEXT))
    command: str = attrs.field(metadata=kind(_TEXT))
    words: str | None = attrs.field(metadata=kind(Optional(_TEXT)))
    fields: dict[str, Any] = attrs.field(metadata=kind(JsonObject()))

    @classmethod
    def of(cls, rung: Rung) -> "KnownRung":
        """A step of a session."""
        gap = None if rung.gap is None else max(rung.gap, 0)
        said = {"by": rung.by, "to": rung.to, "command": rung.command}
        return cls(at=rung.at, gap=gap, words=rung.words or None, fields=dict(rung.fields), **said)


@attrs.frozen(kw_only=True)
class SessionStory:
    """A session with all that is known of it.

    :ivar recorded: whether the client brought its record.
    :ivar ladder: who said what, in its order.
    :ivar left_out: commands that the record does not hold.
    :ivar setup: milliseconds until both SSIDs were exchanged.
    :ivar held_partner: milliseconds in which the partner was not read because the station did not take more.
    :ivar held_station: the same of the station, because of the partner.
    :ivar agreed: what the two SSIDs agreed on.
    :ivar certificate: facts of the partner's certificate and of TLS.
    :ivar events: what was told of it, the first ones.
    """

    known: KnownSession = attrs.field(metadata=kind(ObjectOf(KnownSession)))
    recorded: bool = attrs.field(metadata=kind(Flag()))
    ladder: tuple[KnownRung, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownRung))))
    left_out: int = attrs.field(metadata=kind(_COUNT))
    setup: int | None = attrs.field(metadata=kind(Optional(_COUNT)))
    held_partner: int = attrs.field(metadata=kind(_COUNT))
    held_station: int = attrs.field(metadata=kind(_COUNT))
    agreed: dict[str, Any] | None = attrs.field(metadata=kind(Optional(JsonObject())))
    certificate: dict[str, Any] = attrs.field(metadata=kind(JsonObject()))
    events: tuple[KnownEvent, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(KnownEvent))))


@attrs.frozen(kw_only=True)
class Recording:
    """A recording for ``smartproxy judge``: JSON lines. Content of files is not in it."""

    text: str = attrs.field(metadata=kind(Lines(most=4 * OCTETS_MOST)))


@attrs.frozen(kw_only=True)
class RunningSession:
    """A session that runs.

    :ivar client: who told of it.
    :ivar told: when.
    :ivar state: the session as its client sees it: phase, file under way, octets, octets a second.
    """

    client: str = attrs.field(metadata=kind(_TEXT))
    told: datetime = attrs.field(metadata=kind(Instantaneous()))
    state: ToldSession = attrs.field(metadata=kind(ObjectOf(ToldSession)))


@attrs.frozen(kw_only=True)
class LiveNow:
    """The sessions that run, those that began first first.

    :ivar count: how many run; *items* may be fewer.
    """

    items: tuple[RunningSession, ...] = attrs.field(metadata=kind(ListOf(item=ObjectOf(RunningSession))))
    count: int = attrs.field(metadata=kind(_COUNT))


@attrs.frozen(kw_only=True)
class LevelWanted:
    """At which level a live session is logged.

    :ivar level: of the client's log, for this session only.
    """

    session: str = attrs.field(metadata=kind(SESSION_ID, people=ForPeople(help="its id")))
    level: str = attrs.field(
        default=Severity.TRACE.label,
        metadata=kind(Word(_LEVELS), people=ForPeople(help="the level of the client's log, for this session only")),
    )


@attrs.frozen(kw_only=True)
class Asked:
    """What the session's client was asked; it does so within a second if the session still runs."""

    session: str = attrs.field(metadata=kind(SESSION_ID))


@SESSION.reading("list", "List sessions by partner, time, file and outcome, the newest first.")
def listed(look: Transaction, wanted: SessionsWanted) -> SessionPart:
    """The sessions that are wanted."""
    asked = SessionFilter(
        partner=wanted.partner,
        outcome=wanted.outcome,
        file=wanted.file,
        since=wanted.since,
        until=wanted.until,
        before=wanted.before,
    )
    rows = session_list.find(look.session, asked, wanted.limit + 1)
    shown = rows[: wanted.limit]
    files = session_list.files(look.session, [row.session for row in shown])
    items = tuple(KnownSession.of(row, files[row.session]) for row in shown)
    return SessionPart(items=items, next=shown[-1].id if len(rows) > wanted.limit else None)


@SESSION.reading("show", "Show a session: who said what when, what was agreed, files, certificate and events.")
def show(look: Transaction, wanted: SessionNamed) -> SessionStory:
    """All that is known of it."""
    found = session_list.whole(look.session, wanted.session)
    record = found.record
    return SessionStory(
        known=KnownSession.of(found.row, list(found.files)),
        recorded=record is not None,
        ladder=tuple(map(KnownRung.of, ladders.rungs(record, found.events))),
        left_out=0 if record is None else record.left_out,
        setup=None if record is None else record.setup,
        held_partner=0 if record is None else record.held_partner,
        held_station=0 if record is None else record.held_station,
        agreed=None if record is None or record.agreed is None else dict(record.agreed),
        certificate=dict(found.certificate),
        events=tuple(map(known_event, found.events)),
    )


@SESSION.reading("recording", "Give a session as a recording that 'smartproxy judge' reads; it holds no file content.")
def recording(look: Transaction, wanted: SessionNamed) -> Recording:
    """The lines of the recording."""
    record = session_list.whole(look.session, wanted.session).record
    if record is None:
        raise NotFound(
            f"there is no record of session {wanted.session}: it runs, it ended before it reached a client, or its "
            "record is too old; 'smartproxy session show' has what is known of it"
        )
    return Recording(text="\n".join(ladders.recording(record)) + "\n")


@SESSION.reading("live", "List the sessions that run now, with file, octets and rate.", path="GET :live")
def live(look: Transaction, wanted: Nothing) -> LiveNow:
    """Those that the clients told of within some seconds."""
    found, count = session_list.live(look.session, look.now)
    items = [RunningSession(client=each.client, told=each.told, state=each.portrait) for each in found]
    return LiveNow(items=tuple(items[: limits.DOCUMENT_ENTRIES_MOST]), count=count)


@SESSION.acting("end", "End a live session with ESID 05.")
def end(work: Transaction, wanted: SessionNamed) -> Asked:
    """Have its client end it."""
    _ask(work, wanted.session, "end")
    return Asked(session=wanted.session)


@SESSION.acting("level", "Log a live session at another level, in the log of its client.")
def level(work: Transaction, wanted: LevelWanted) -> Asked:
    """Have its client log it so."""
    _ask(work, wanted.session, "level", wanted.level)
    return Asked(session=wanted.session)


def _ask(work: Transaction, session: str, what: str, of: str | None = None) -> None:
    if not session_list.is_live(work.session, session, work.now):
        raise NotFound(f"no session {session} runs; 'smartproxy session live' lists those that do")
    trials.wish(work.session, session, what, work.now, of)
