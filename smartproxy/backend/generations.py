"""Generations: every change of the configuration is one, whole and valid, or it is none.

A change is made in one transaction: the tables are changed, the document for clients is built from them and judged by
:mod:`smartproxy.policy.configuration`, and only if it is valid the new number is written together with it. What is
refused leaves nothing behind.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import attrs
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from smartproxy.backend import authority, document
from smartproxy.backend.change import Change
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.schema import GenerationRow, SiteRow
from smartproxy.backend.store import Store
from smartproxy.policy.configuration import ConfigurationRefused, parse


@attrs.frozen(kw_only=True)
class Generation:
    """One entry of the history."""

    number: int
    made: datetime
    made_by: str
    change: str


@contextmanager
def changing(store: Store, *, by: str, what: str, now: datetime) -> Iterator[Change]:
    """Change tables inside; when the block ends, the change is one generation more.

    :raises ChangeRefused: when the configuration would not be valid any more; nothing is changed then.
    :raises NotFound: when the site has no authority, and the change does not make it.
    """
    with store.writing() as session:
        # Where a database lets two transactions write at once, the second waits here for the first one's number.
        session.scalars(select(SiteRow).with_for_update()).one_or_none()
        previous = newest_number(session)
        change = Change(session=session, now=now, by=by, what=what, generation=previous + 1)
        yield change
        session.flush()
        authority.site_row(session)
        octets = document.build(session, change.generation)
        try:
            parse(octets)
        except ConfigurationRefused as refused:
            raise ChangeRefused(f"{document.explain(session, str(refused))}; nothing is changed") from refused
        # One document is kept: a site's history would otherwise be a pile of copies of its keys.
        session.execute(update(GenerationRow).values(document=None))
        session.add(GenerationRow(number=change.generation, made=now, made_by=by, change=what, document=octets))
        change.note("configuration.changed", command=what, previous=previous)
        change.record()


def newest_number(session: Session) -> int:
    """The number of the generation in force; 0 before the first."""
    return session.scalar(select(func.max(GenerationRow.number))) or 0


def newest_document(session: Session) -> tuple[int, bytes] | None:
    """The generation in force and its document for clients, or nothing before the first."""
    row = session.scalars(select(GenerationRow).order_by(GenerationRow.number.desc()).limit(1)).one_or_none()
    if row is None or row.document is None:
        return None
    return row.number, row.document


def history(session: Session, most: int) -> Sequence[Generation]:
    """The newest generations, oldest first."""
    columns = (GenerationRow.number, GenerationRow.made, GenerationRow.made_by, GenerationRow.change)
    rows = session.execute(select(*columns).order_by(GenerationRow.number.desc()).limit(most)).all()
    return [
        Generation(number=number, made=made, made_by=made_by, change=change)
        for number, made, made_by, change in reversed(rows)
    ]
