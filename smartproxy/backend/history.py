"""The history: for each generation who made it, when, in which way and why, and what it changed.

Of each generation the differences from the one before are kept, without secrets, for as long as the store is. From the
present entries and these, the entries of any generation are found again.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from smartproxy.backend import states
from smartproxy.backend.change import Channel
from smartproxy.backend.errors import ChangedMeanwhile, NotFound
from smartproxy.backend.schema import GenerationRow
from smartproxy.backend.states import Difference, EntryKind, EntryPlace
from smartproxy.backend.trail_tables import DifferenceRow
from smartproxy.logs.fields import isotime


@attrs.frozen(kw_only=True)
class HistoryEntry:
    """One entry of the history.

    :ivar channel: how the change came in.
    :ivar change: what was done, in the operator's words.
    :ivar comment: why, if its author said so.
    """

    number: int
    made: datetime
    made_by: str
    channel: Channel
    change: str
    comment: str | None = None


def keep(session: Session, generation: int, differences: Iterable[Difference]) -> None:
    """Keep what a generation changes."""
    rows = [{"generation": generation, **each.told()} for each in differences]
    if rows:
        session.execute(insert(DifferenceRow), rows)


def listed(session: Session, most: int, *, before: int | None = None) -> Sequence[HistoryEntry]:
    """The newest generations, or the newest before one, oldest first."""
    entries = _ENTRIES if before is None else _ENTRIES.where(GenerationRow.number < before)
    rows = session.execute(entries.order_by(GenerationRow.number.desc()).limit(most)).all()
    return [_entry(*row) for row in reversed(rows)]


def find(session: Session, number: int) -> HistoryEntry:
    """The entry of a generation.

    :raises NotFound: when there is none of this number.
    """
    row = session.execute(_ENTRIES.where(GenerationRow.number == number)).one_or_none()
    if row is None:
        newest = session.scalar(select(func.max(GenerationRow.number))) or 0
        raise NotFound(
            f"there is no generation {number}; the newest is {newest}, and 'smartproxy history -n N' lists the newest N"
        )
    return _entry(*row)


def last_of(session: Session, subject: EntryKind, name: str | None) -> HistoryEntry | None:
    """The newest generation that changed an entry; any entry of this subject, if no name is given."""
    changed = _ENTRIES.join(DifferenceRow, DifferenceRow.generation == GenerationRow.number)
    changed = changed.where(DifferenceRow.subject == subject.value)
    if name is not None:
        changed = changed.where(DifferenceRow.name == name)
    row = session.execute(changed.order_by(GenerationRow.number.desc()).limit(1)).one_or_none()
    return None if row is None else _entry(*row)


def changed_meanwhile(what: str, last: HistoryEntry | None, then: str) -> ChangedMeanwhile:
    """What somebody is told whose change is not made, because another one was.

    :param what: what is not as it was seen, as a sentence without full stop.
    :param then: what to do.
    """
    if last is None:
        return ChangedMeanwhile(f"{what}: it was changed meanwhile; {then}")
    who = f"{last.made_by} changed it at {isotime(last.made)} (generation {last.number})"
    return ChangedMeanwhile(f"{what}: {who}; {then}", by=last.made_by, made=last.made, generation=last.number)


def differences_of(session: Session, number: int) -> tuple[Difference, ...]:
    """What a generation changed."""
    rows = session.scalars(select(DifferenceRow).where(DifferenceRow.generation == number).order_by(DifferenceRow.id))
    return tuple(
        Difference(
            place=EntryPlace(EntryKind(row.subject), row.name), before=row.before, after=row.after, secret=row.secret
        )
        for row in rows
    )


def since(session: Session, number: int) -> tuple[Difference, ...]:
    """In what the present entries differ from those of a generation; ``before`` is what that generation held.

    :raises NotFound: when there is none of this number.
    """
    find(session, number)
    later = select(DifferenceRow.generation).where(DifferenceRow.generation > number).distinct()
    first: dict[EntryPlace, Difference] = {}
    for generation in session.scalars(later.order_by(DifferenceRow.generation)).all():
        for each in differences_of(session, generation):
            known = first.get(each.place, each)
            first[each.place] = attrs.evolve(known, after=each.after, secret=known.secret or each.secret)
    return tuple(
        sorted((each for each in first.values() if each.before != each.after or each.secret), key=states.in_order)
    )


_ENTRIES = select(
    GenerationRow.number,
    GenerationRow.made,
    GenerationRow.made_by,
    GenerationRow.way,
    GenerationRow.change,
    GenerationRow.comment,
)


def _entry(number: int, made: datetime, made_by: str, way: str, change: str, comment: str | None) -> HistoryEntry:
    return HistoryEntry(number=number, made=made, made_by=made_by, channel=Channel(way), change=change, comment=comment)
