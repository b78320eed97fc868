"""A change that an operator is making: its transaction, its author, the events that tell of it, and its entries."""

import enum
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar, cast

import attrs
from sqlalchemy.orm import Session

from smartproxy.backend import journal
from smartproxy.backend.errors import EntryRefused
from smartproxy.backend.states import Difference
from smartproxy.logs.record import Record
from smartproxy.policy import limits
from smartproxy.policy.permissions import EVERYTHING
from smartproxy.policy.schema import declarations, read_object, write_object
from smartproxy.policy.strict_json import DocumentRefused
from smartproxy.policy.values import Line

COMMENT = Line(most=limits.COMMENT_CHARACTERS_MOST)
"""Why a change is made: one line."""

_Entry = TypeVar("_Entry", bound=attrs.AttrsInstance)


class Channel(enum.StrEnum):
    """How a change comes in: by the command, the API, the page, or by the backend's own work."""

    COMMAND = "command"
    API = "api"
    PAGE = "page"
    BACKEND = "backend"


@attrs.define(kw_only=True)
class Change:
    """A change that is being made.

    :ivar session: the transaction in which the tables are changed.
    :ivar now: the time of the change.
    :ivar by: who makes it.
    :ivar what: what is changed, in the operator's words.
    :ivar generation: its number.
    :ivar channel: how it comes in.
    :ivar comment: why it is made, if its author said so.
    :ivar allowed: the scopes of who makes it.
    :ivar differences: what it changed, once it is made.
    :ivar last_word: called when the change is found valid and before it is kept; what it raises undoes the change.
    :ivar differs: whether an entry that was written is other than before; ``None`` where none was compared.
    :ivar made: whether it became a generation: one whose entries are all as they were does not.
    """

    session: Session
    now: datetime
    by: str
    what: str
    generation: int
    channel: Channel = Channel.COMMAND
    comment: str | None = None
    allowed: frozenset[str] = frozenset({EVERYTHING})
    differences: Sequence[Difference] = ()
    last_word: Callable[[], None] | None = None
    differs: bool | None = None
    made: bool = False
    _records: list[Record] = attrs.field(factory=list)

    def note(self, name: str, /, **fields: object) -> None:
        """Have an event stored with the change, and only if it is made."""
        noted = {"generation": self.generation, "facts": {"by": self.by}, **fields}
        self._records.append(journal.record_of(name, self.now, len(self._records) + 1, **noted))

    def compare(self, before: object, after: object) -> None:
        """See whether what is written is other than what is there."""
        self.differs = self.differs or before != after

    def record(self) -> None:
        """Store the events that were noted."""
        journal.keep(self.session, self._records, self.now)


def judged(entry: _Entry, what: str) -> _Entry:
    """An entry as it is read from the document that is written of it: what it would not take is refused.

    A field that is in no document stays as it is.

    :param what: whose it is, such as ``partner ACME``.
    :raises EntryRefused: with the place in the entry.
    """
    try:
        read = read_object(type(entry), write_object(entry))
    except DocumentRefused as refused:
        raise EntryRefused(what, refused.where, refused.message) from refused
    told = {each.name for each in declarations(type(entry))}
    kept = {each.name: getattr(entry, each.name) for each in attrs.fields(type(entry)) if each.name not in told}
    whole: Any = read
    return cast(_Entry, attrs.evolve(whole, **kept)) if kept else read
