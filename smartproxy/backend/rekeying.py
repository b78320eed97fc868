"""Another key for the store: every secret is encrypted anew, in one transaction, while backends run.

A backend that runs finds the other key at the same place when it meets a secret that is under it, and before it writes
the next one.
"""

from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import LargeBinary, Table, delete, func, insert, select, type_coerce, update
from sqlalchemy.orm import Session

from smartproxy.backend.database import wipe
from smartproxy.backend.errors import ChangeRefused
from smartproxy.backend.schema import StoreKeyRow
from smartproxy.backend.sealing import KeyPlace, KeyRing, Sealed, StoreKey
from smartproxy.backend.store import Store
from smartproxy.backend.tables import all_tables


@attrs.frozen(kw_only=True)
class StoreStatus:
    """Where a store is, and what its secrets are encrypted with.

    :ivar key: the key's id; ``None`` before the first secret.
    :ivar since: since when.
    """

    store: str
    key: str | None
    since: datetime | None
    place: KeyPlace
    secrets: int


@attrs.frozen(kw_only=True)
class Rekeyed:
    """What was done.

    :ivar left: what to do so that nothing of the old key is left in the database's files; ``None`` if that was done.
    """

    before: str
    after: str
    secrets: int
    place: KeyPlace
    left: str | None


def status(store: Store) -> StoreStatus:
    """Look at a store; its key is not read."""
    with store.reading() as session:
        row = session.get(StoreKeyRow, 1)
        count = sum(
            session.scalar(select(func.count()).select_from(table).where(column.is_not(None))) or 0
            for table in all_tables()
            for column in _sealed(table)
        )
        return StoreStatus(
            store=store.location.shown,
            key=None if row is None else row.key,
            since=None if row is None else row.since,
            place=store.ring.place,
            secrets=count,
        )


def rekey(store: Store, now: datetime) -> Rekeyed:
    """Encrypt all secrets with another key: a new one beside the store, else the first one at the keys' place.

    :raises ChangeRefused: when the first one there is the present one.
    """
    ring = store.ring
    with store.writing() as session:
        before = ring.current
        keys = ring.load()
        if keys[0].id == before:
            if not ring.place.own:
                raise ChangeRefused(
                    f"the first key at {ring.place} is the present one ({before}); put a new one in front of it and "
                    "leave it there, then run the command again"
                )
            # The present key stays in the file until all is encrypted with the new one.
            keys = [StoreKey.new(), *keys]
            ring.place.write(keys)
            ring.load()
        after = keys[0].id
        try:
            ring.use(after)
            count = sum(_again(session, table, ring) for table in all_tables())
            session.execute(delete(StoreKeyRow))
            session.execute(insert(StoreKeyRow).values(number=1, key=after, since=now))
        except BaseException:
            ring.use(before)
            raise
    if ring.place.own:
        ring.place.write(keys[:1])
    left = wipe(store.engine, store.location, [table.name for table in all_tables() if _sealed(table)])
    return Rekeyed(before=before, after=after, secrets=count, place=ring.place, left=left)


def _sealed(table: Table) -> list[Any]:
    return [column for column in table.columns if isinstance(column.type, Sealed)]


def _again(session: Session, table: Table, ring: KeyRing) -> int:
    """Encrypt what a table holds anew; how many values."""
    count = 0
    for column in _sealed(table):
        (key,) = table.primary_key.columns
        name = column.type.column
        raw = type_coerce(column, LargeBinary())
        for number in session.scalars(select(key).where(column.is_not(None))).all():
            sealed = session.execute(select(raw).where(key == number)).scalar_one()
            octets = ring.seal(name, ring.unseal(name, bytes(sealed)))
            session.execute(update(table).where(key == number).values({column: type_coerce(octets, LargeBinary())}))
            count += 1
    return count
