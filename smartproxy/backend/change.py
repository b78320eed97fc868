"""A change that an operator is making: its transaction, its author, and the events that tell of it."""

from datetime import datetime

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import journal
from smartproxy.logs.record import Record


@attrs.define(kw_only=True)
class Change:
    """A change that is being made.

    :ivar session: the transaction in which the tables are changed.
    :ivar now: the time of the change.
    :ivar by: who makes it.
    :ivar what: what is changed, in the operator's words.
    :ivar generation: its number.
    """

    session: Session
    now: datetime
    by: str
    what: str
    generation: int
    _records: list[Record] = attrs.field(factory=list)

    def note(self, name: str, /, **fields: object) -> None:
        """Have an event stored with the change, and only if it is made."""
        noted = {"generation": self.generation, "facts": {"by": self.by}, **fields}
        self._records.append(journal.record_of(name, self.now, len(self._records) + 1, **noted))

    def record(self) -> None:
        """Store the events that were noted."""
        journal.keep(self.session, self._records, self.now)
