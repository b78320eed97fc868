"""The audit trail: what operators did, in a chain that only grows.

Each record is kept as canonical JSON, which holds the hash of the record before; its own hash is the SHA-256 of that
JSON. Who changes, removes or reorders a record has to make every later hash anew, and then the newest one is not the
one that was written to the log before: an anchor. A tail that was cut off is found by an anchor, too. Nothing here
deletes a record. A record holds no secret.

Writers on one database wait for each other at the site's row, so that there is one chain.
"""

import enum
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

import attrs
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend import history
from smartproxy.backend.change import Channel
from smartproxy.backend.errors import NotFound, Unusable
from smartproxy.backend.history import HistoryEntry
from smartproxy.backend.schema import GenerationRow, SiteRow
from smartproxy.backend.states import Difference
from smartproxy.backend.trail_tables import AuditRow
from smartproxy.logs.fields import isotime, utc_of

Scalar: TypeAlias = str | int | bool | None

FIRST: Final = "0" * 64
"""The hash before the first record."""
REFUSED_AGAIN: Final = timedelta(minutes=1)
"""The same refusal is recorded once in so long."""
_REFUSALS_LOOKED_AT: Final = 50
_BATCH: Final = 500


class Deed(enum.StrEnum):
    """What a record is of.

    ``CHANGE``: a generation of the configuration. ``ACT``: something that changes the store but not the configuration.
    ``EXPORT``: private keys left the store. ``REFUSAL``: an administrator or an operator was refused.
    """

    CHANGE = "change"
    ACT = "act"
    EXPORT = "export"
    REFUSAL = "refusal"


@attrs.frozen(kw_only=True)
class AuditRecord:
    """A record of the trail.

    :ivar number: counts from 1 without a gap.
    :ivar by: who did it.
    :ivar channel: how it came in.
    :ivar what: what was done, in the operator's words.
    :ivar facts: more about it.
    :ivar hash: of this record, in hex.
    """

    number: int
    time: datetime
    deed: Deed
    by: str
    channel: Channel
    what: str
    comment: str | None
    facts: Mapping[str, Scalar]
    hash: str


@attrs.frozen
class Anchor:
    """The newest record at a time, by which the trail can be checked later."""

    number: int
    hash: str


@attrs.frozen(kw_only=True)
class ChainFault:
    """Where the trail is not as it was written.

    :ivar number: of the first record that it is about; ``None`` if it is about an anchor.
    """

    number: int | None
    what: str


@attrs.frozen(kw_only=True)
class TrailVerdict:
    """What an examination of the trail found.

    :ivar records: how many records there are.
    :ivar newest: the newest of them; ``None`` if there is none.
    :ivar faults: empty if the trail is whole.
    """

    records: int
    newest: Anchor | None
    faults: tuple[ChainFault, ...]


def record(
    session: Session,
    deed: Deed,
    what: str,
    *,
    by: str,
    channel: Channel,
    now: datetime,
    comment: str | None = None,
    facts: Mapping[str, Scalar] | None = None,
) -> Anchor:
    """Add a record to the trail, in the transaction of what it is about."""
    # Where a database lets two transactions write at once, the second waits here until the first has its record.
    session.scalars(select(SiteRow).with_for_update()).one_or_none()
    before = newest(session)
    number, previous = (1, FIRST) if before is None else (before.number + 1, before.hash)
    text = _canonical(
        {
            "number": number,
            "time": isotime(now),
            "deed": deed.value,
            "by": by,
            "channel": channel.value,
            "what": what,
            "comment": comment,
            "facts": dict(facts or {}),
            "previous": previous,
        }
    )
    made = Anchor(number, _hash(text))
    session.add(AuditRow(number=made.number, record=text, hash=made.hash))
    session.flush()
    return made


def record_change(session: Session, entry: HistoryEntry, digest: str) -> Anchor:
    """Add the record of a generation, which holds the history of it, too.

    :param digest: the beginning of its document's SHA-256.
    """
    facts: dict[str, Scalar] = {
        "generation": entry.number,
        "document": digest,
        "differences": _differences_hash(session, entry.number),
    }
    return record(
        session,
        Deed.CHANGE,
        entry.change,
        by=entry.made_by,
        channel=entry.channel,
        now=entry.made,
        comment=entry.comment,
        facts=facts,
    )


def record_refusal(session: Session, what: str, why: str, *, by: str, channel: Channel, now: datetime) -> Anchor | None:
    """Add the record of a refusal; nothing if the same was recorded within :data:`REFUSED_AGAIN`."""
    query = select(AuditRow).order_by(AuditRow.number.desc()).limit(_REFUSALS_LOOKED_AT)
    for row in session.scalars(query):
        known = _read(row)
        # A record of later was made while the clock was ahead.
        if abs(now - known.time) > REFUSED_AGAIN:
            break
        if (known.deed, known.by, known.what) == (Deed.REFUSAL, by, what):
            return None
    return record(session, Deed.REFUSAL, what, by=by, channel=channel, now=now, facts={"why": why})


def newest(session: Session) -> Anchor | None:
    """The newest record; nothing before the first."""
    row = session.execute(
        select(AuditRow.number, AuditRow.hash).order_by(AuditRow.number.desc()).limit(1)
    ).one_or_none()
    return None if row is None else Anchor(*row)


def holds(session: Session, anchor: Anchor) -> bool:
    """Whether the record of an anchor is still there, with its hash."""
    row = session.get(AuditRow, anchor.number)
    return row is not None and row.hash == anchor.hash == _hash(row.record)


def listed(
    session: Session,
    most: int,
    *,
    by: str | None = None,
    deed: Deed | None = None,
    since: datetime | None = None,
    before: int | None = None,
) -> Sequence[AuditRecord]:
    """The newest records, oldest first.

    :param by: only of this operator.
    :param since: only from this time on.
    :param before: only those with a lower number.
    """
    found: list[AuditRecord] = []
    all_or_older = select(AuditRow) if before is None else select(AuditRow).where(AuditRow.number < before)
    query = all_or_older.order_by(AuditRow.number.desc()).execution_options(yield_per=_BATCH)
    for row in session.scalars(query):
        each = _read(row)
        if by in (None, each.by) and deed in (None, each.deed) and (since is None or each.time >= since):
            found.append(each)
            if len(found) == most:
                break
    return found[::-1]


def about(session: Session, words: str) -> frozenset[str]:
    """What an operation was about, whenever it was done: ``inside-1`` for ``authority issue-client``.

    :param words: the operation in the operator's words.
    """
    # A record is canonical JSON: its text has the beginning of ``what`` in one form.
    begin = _canonical({"what": f"{words} "})[1:-2]
    rows = session.scalars(select(AuditRow).where(AuditRow.record.contains(begin, autoescape=True)))
    told = [each for each in map(_read, rows) if each.deed is not Deed.REFUSAL]
    return frozenset(each.what.removeprefix(f"{words} ") for each in told)


def verify(session: Session, anchors: Sequence[str] = ()) -> TrailVerdict:
    """Examine the whole trail, and the history of changes with it.

    :param anchors: hashes that were the newest at some time.
    """
    faults: list[ChainFault] = []
    wanted, count = {each.lower() for each in anchors}, 0
    before, last = FIRST, 0
    generations = set(session.scalars(select(GenerationRow.number)))
    for number, text, held in _rows(session):
        count += 1
        hashed = _hash(text)
        if number != last + 1:
            missing = f"record {last + 1} is" if number == last + 2 else f"records {last + 1} to {number - 1} are"
            faults.append(ChainFault(number=last + 1, what=f"{missing} missing"))
        if hashed != held:
            faults.append(ChainFault(number=number, what=f"record {number} was changed"))
        else:
            faults += _link_faults(number, text, before, gap=number != last + 1)
            faults += _history_faults(session, text)
            generations.discard(json.loads(text)["facts"].get("generation"))
        wanted.discard(hashed)
        before, last = held, number
    faults += (
        ChainFault(number=None, what=f"generation {each} of the configuration has no record: it was removed")
        for each in sorted(generations)
    )
    faults += (
        ChainFault(
            number=None,
            what=f"no record has the hash {each}: records were cut off at the end or made anew since it was the newest",
        )
        for each in sorted(wanted)
    )
    return TrailVerdict(records=count, newest=Anchor(last, before) if count else None, faults=tuple(faults))


def _rows(session: Session) -> Iterator[tuple[int, str, str]]:
    query = select(AuditRow.number, AuditRow.record, AuditRow.hash).order_by(AuditRow.number)
    for row in session.execute(query.execution_options(yield_per=_BATCH)):
        yield row.number, row.record, row.hash


def _link_faults(number: int, text: str, before: str, *, gap: bool) -> Iterator[ChainFault]:
    """What is wrong with the place of a record that is as it was hashed."""
    found: Any = json.loads(text)
    if found["number"] != number:
        yield ChainFault(
            number=number, what=f"record {found['number']} stands in the place of record {number}: they were reordered"
        )
    elif found["previous"] != before and not gap:
        yield ChainFault(
            number=number,
            what=f"record {number} does not follow record {number - 1}: one of them was made anew",
        )


def _history_faults(session: Session, text: str) -> Iterator[ChainFault]:
    """Where the history of a change is other than its record."""
    found: Any = json.loads(text)
    generation = found["facts"].get("generation")
    if found["deed"] != Deed.CHANGE or generation is None:
        return
    try:
        entry = history.find(session, generation)
    except NotFound:
        same = False
    else:
        told = (isotime(entry.made), entry.made_by, entry.channel.value, entry.change, entry.comment)
        same = told == tuple(found[key] for key in ("time", "by", "channel", "what", "comment"))
        same = same and found["facts"]["differences"] == _differences_hash(session, generation)
    if not same:
        yield ChainFault(
            number=found["number"],
            what=f"record {found['number']}: the history of generation {generation} is not as it was recorded",
        )


def _differences_hash(session: Session, generation: int) -> str:
    """The SHA-256 of what a generation changed."""
    return _hash(_canonical([_plain(each) for each in history.differences_of(session, generation)]))


def _plain(each: Difference) -> list[Any]:
    return [each.place.subject.value, each.place.name, each.before, each.after, each.secret]


def _read(row: AuditRow) -> AuditRecord:
    try:
        found: Any = json.loads(row.record)
        return AuditRecord(
            number=row.number,
            time=utc_of(found["time"]),
            deed=Deed(found["deed"]),
            by=found["by"],
            channel=Channel(found["channel"]),
            what=found["what"],
            comment=found["comment"],
            facts=found["facts"],
            hash=row.hash,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Unusable(
            f"record {row.number} of the audit trail cannot be read, because it was changed; 'smartproxy audit verify' "
            "says what else was"
        ) from error


def _canonical(value: object) -> str:
    """The one JSON of a value: keys sorted, no blanks, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
