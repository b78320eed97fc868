"""Keeps the list of sessions, as events and records arrive: one row for each session, and one for each of its files.

What the client tells of a session counts more than what the server tells: the server is the one in the DMZ. An event
that comes twice changes nothing. Trusts no event to be there, nor the order of two daemons' events.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session

from smartproxy.backend import figures
from smartproxy.backend.database import is_among
from smartproxy.backend.figures import FigureTally
from smartproxy.backend.old_rows import are_more, delete_oldest
from smartproxy.backend.session_tables import LiveReportRow, SessionFileRow, SessionRecordRow, SessionRow
from smartproxy.logs.fields import utc_of
from smartproxy.policy.causes import Cause
from smartproxy.policy.explanations import EXPLANATIONS
from smartproxy.policy.outcomes import Outcome, Participant
from smartproxy.policy.session_record import SessionRecord

_ENDS: Final = {
    "session.ended": None,
    "session.abandoned": None,
    "session.refused": Outcome.REFUSED,
    "session.failed": Outcome.FAILED,
    "session.violation": Outcome.VIOLATED,
    "session.expired": Outcome.EXPIRED,
    "identity.refused": Outcome.REFUSED,
    "outbound.refused": Outcome.REFUSED,
}
"""Events that say how a session ended, and the outcome of one that says none."""
_BEGINS: Final = frozenset({"session.started", "identity.accepted"})
_OF_FILES: Final = "file.ended"
_REFUSALS: Final = frozenset(
    {"certificate.refused", "connection.refused", "handshake.failed", "identity.refused", "session.refused"}
)
_WANTED: Final = frozenset({*_ENDS, *_BEGINS, _OF_FILES, *_REFUSALS, "strangers.counted"})
_SERVER: Final = "server"
_FILES: Final = cast(Table, SessionFileRow.__table__)
"""Many rows at once cost half as much without the objects of the ORM."""
_OUTCOMES: Final = frozenset(each.value for each in Outcome)
_CAUSES: Final = frozenset({*(each.value for each in Cause), *EXPLANATIONS})
"""What counts are made of: whoever tells of an end does not choose their names."""
_FILES_MOST: Final = 2**31 - 1
"""These columns are integers of 32 bits in PostgreSQL."""
_COUNTS: Final = {
    "octets_in": figures.COUNT_MOST,
    "octets_out": figures.COUNT_MOST,
    "files_in": _FILES_MOST,
    "files_out": _FILES_MOST,
}
"""What a session's row counts, and the highest that it holds."""


def note(session: Session, events: Sequence[Mapping[str, Any]], received: datetime) -> None:
    """Take in what new events tell of sessions.

    :param events: as rows of the table of events.
    """
    wanted = [each for each in events if each["name"] in _WANTED]
    if not wanted:
        return
    tally = FigureTally(received)
    about = [
        each
        for each in wanted
        if each["session"] and each["name"] in (*_ENDS, *_BEGINS) and each["fields"].get("way") != "trial"
    ]
    rows = _rows(session, about, received)
    for event in about:
        _take_in(rows[event["session"][:64]], event, tally)
    _files(session, [each for each in wanted if each["name"] == _OF_FILES and each["source"] != _SERVER], received)
    for event in wanted:
        _refusal(event, tally)
    session.flush()
    figures.keep(session, tally)


def keep_record(session: Session, record: SessionRecord, packed: bytes, client: str, received: datetime) -> bool:
    """Keep the record of a session; whether it was not there before."""
    if session.get(SessionRecordRow, record.session) is not None:
        return False
    session.add(SessionRecordRow(session=record.session, received=received, client=client, packed=packed))
    began = utc_of(record.began)
    told = {"time": began, "session": record.session, "partner": record.partner, "name": "session.started"}
    direction = "inbound" if record.initiator == Participant.PARTNER else "outbound"
    told |= {"source": "client", "fields": {"direction": direction, "peer": record.peer}}
    row = _rows(session, [told], received)[record.session]
    row.began = min(row.began, began)
    tally = FigureTally(received)
    if record.setup is not None:
        tally.add(began, figures.setup_class(record.setup))
    session.flush()
    figures.keep(session, tally)
    return True


def forget(session: Session, before: datetime) -> bool:
    """Delete a piece of what arrived before a time; whether there may be more."""
    tables = (SessionRow, SessionFileRow, SessionRecordRow, LiveReportRow)
    deleted = [delete_oldest(session, table.received, before) for table in tables]
    return are_more(*deleted, figures.forget(session, before))


def _rows(session: Session, events: Sequence[Mapping[str, Any]], received: datetime) -> dict[str, SessionRow]:
    """The rows of the sessions of some events; those that are not there are made."""
    if not events:
        return {}
    ids = list({cast(str, each["session"])[:64] for each in events})
    there = select(SessionRow).where(is_among(session, SessionRow.session, ids))
    rows = {row.session: row for row in session.scalars(there)}
    for event in events:
        known = event["session"][:64]
        if known not in rows:
            rows[known] = row = SessionRow(session=known, received=received, began=event["time"], settled=False)
            row.octets_in = row.octets_out = row.files_in = row.files_out = 0
            session.add(row)
    return rows


def _take_in(row: SessionRow, event: Mapping[str, Any], tally: FigureTally) -> None:
    fields, name = event["fields"], event["name"]
    row.partner = row.partner or event["partner"]
    row.direction = row.direction or _text(fields, "direction")
    row.peer = row.peer or _text(fields, "peer")
    if name in _BEGINS:
        row.began = min(row.began, event["time"])
        return
    outcome = _text(fields, "outcome") or _ENDS[name]
    if outcome is not None and outcome not in _OUTCOMES:
        outcome = figures.OTHER
    # The last word is that of session.ended; before it, that of the event which says why it ends.
    if name == "session.ended" or row.outcome is None:
        first = row.outcome is None or (event["source"] != _SERVER)
        if first:
            row.outcome, row.cause = outcome, _text(fields, "cause") or _text(fields, "rule") or row.cause
            row.message = _text(fields, "message") or row.message
            row.ended = event["time"]
    if name == "session.ended" and (event["source"] != _SERVER or row.octets_in + row.octets_out == 0):
        if row.octets_in + row.octets_out == 0:
            for octets in (figures.OCTETS_IN, figures.OCTETS_OUT):
                tally.spread(row.began, event["time"], octets, _whole(fields, octets))
        # A client whose worker died does not know them all: then the other daemon's stay.
        for name, most in _COUNTS.items():
            if name in fields:
                setattr(row, name, min(_whole(fields, name), most))
    if not row.settled:
        row.settled = True
        tally.add(row.began, figures.BEGUN)
        tally.add(event["time"], f"{figures.ENDED}{outcome}")


def _files(session: Session, events: Sequence[Mapping[str, Any]], received: datetime) -> None:
    rows = [
        {
            "session": each["session"][:64],
            "received": received,
            "dataset": str(each["fields"]["dataset"]),
            "link": str(each["fields"].get("link", ""))[:8],
            "outcome": str(each["fields"].get("outcome", ""))[:16],
            "octets": each["fields"].get("octets"),
        }
        for each in events
        if each["session"] and "dataset" in each["fields"]
    ]
    if rows:
        session.execute(insert(_FILES), rows)


def _refusal(event: Mapping[str, Any], tally: FigureTally) -> None:
    """Count a refusal by its cause; of those that both daemons tell, the server's."""
    fields = event["fields"]
    if event["name"] == "strangers.counted":
        told = fields.get("event")
        if told in _REFUSALS:
            facts = fields.get("facts")
            cause = facts.get("cause") if isinstance(facts, dict) else None
            tally.add(event["time"], _refused(cause, told), _whole(fields, "count"))
    elif event["name"] in _REFUSALS and event["source"] == _SERVER:
        tally.add(event["time"], _refused(fields.get("cause"), event["name"]))


def _refused(cause: object, name: str) -> str:
    """The name under which refusals of a cause are counted, or of an event that gives none."""
    known = cause if cause is None or cause in _CAUSES else figures.OTHER
    return f"{figures.REFUSED}{known or name}"


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and value else None


def _whole(fields: Mapping[str, Any], name: str) -> int:
    """A count; what is none is 0, and no number is so high that sums of them do not fit."""
    value = fields.get(name)
    return min(max(value, 0), figures.COUNT_MOST) if isinstance(value, int) and not isinstance(value, bool) else 0
