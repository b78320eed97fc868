"""The tables whose rows have a name each: the row of a name, and all of them."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import attrs
from sqlalchemy import select
from sqlalchemy.orm import Session

from smartproxy.backend.errors import NotFound
from smartproxy.backend.schema import NamedRow

_Row = TypeVar("_Row", bound=NamedRow)


def by_name(session: Session, table: type[_Row]) -> Sequence[_Row]:
    """All rows of a table, in the order of their names."""
    return session.scalars(select(table).order_by(table.name)).all()


@attrs.frozen
class NamedRows(Generic[_Row]):
    """The rows of one table.

    :ivar missing: the error for a name that no row has, made of the name and of a list of those that there are.
    """

    table: type[_Row]
    missing: Callable[[str, str], NotFound]

    def get(self, session: Session, name: str) -> _Row | None:
        """The row of a name, if there is one."""
        if "\0" in name:
            # No name has it, and PostgreSQL takes no text that has it.
            return None
        return session.scalars(select(self.table).where(self.table.name == name)).one_or_none()

    def find(self, session: Session, name: str) -> _Row:
        """The row of a name.

        :raises NotFound: when there is none; the message says which there are, or what shows them.
        """
        row = self.get(session, name)
        if row is None:
            known = session.scalars(select(self.table.name).order_by(self.table.name))
            raise self.missing(name, ", ".join(known) or "none")
        return row

    def listed(self, session: Session) -> Sequence[_Row]:
        """All rows, in the order of their names."""
        return by_name(session, self.table)
