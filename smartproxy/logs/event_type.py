"""What an entry of the event catalogue is: a name, a level, typed fields, and who reads it.

A call or a record is held to its entry by :meth:`EventType.check`. Trusts no caller.
"""

import contextlib
import enum
from collections.abc import Mapping

import attrs

from smartproxy.logs.fields import FIELDS, Field, FieldRefused, Value
from smartproxy.logs.severity import Severity


class Audience(enum.Enum):
    """Who reads an event first."""

    OPERATIONS = "operations"  #: runs the daemons
    SECURITY = "security"  #: watches for intruders; feeds an IDS
    DEVELOPMENT = "development"  #: mends the program


class CatalogueError(ValueError):
    """An event was emitted that the catalogue does not know in this form; the message names it, never a value."""


ALWAYS = ("session", "partner", "peer", "direction", "client", "generation", "detail", "facts")
"""Fields that may stand in every event beside its own."""


@attrs.frozen(kw_only=True)
class EventType:
    """One entry of the catalogue.

    :ivar name: ``subject.what``.
    :ivar level: how much it matters.
    :ivar fields: the fields that it may have, by name.
    :ivar required: the names of those that it always has.
    :ivar doc: what happened, in one sentence.
    :ivar audience: who reads it first.
    :ivar group: the heading under which the documents list it.
    """

    name: str
    level: Severity
    fields: Mapping[str, Field]
    required: frozenset[str]
    doc: str
    audience: Audience
    group: str

    def check(self, fields: Mapping[str, object]) -> dict[str, Value]:
        """Bring fields into the form and order in which records hold them; those that are ``None`` are left out.

        :raises CatalogueError: for an unknown field, a missing one, or a value of another type.
        """
        given = {name: value for name, value in fields.items() if value is not None}
        if unknown := sorted(given.keys() - self.fields.keys()):
            raise CatalogueError(f"{self.name} has no field {', '.join(unknown)}")
        if missing := sorted(self.required - given.keys()):
            raise CatalogueError(f"{self.name} lacks {', '.join(missing)}")
        try:
            return {name: field.check(given[name]) for name, field in self.fields.items() if name in given}
        except FieldRefused as refused:
            raise CatalogueError(f"{self.name}: {refused}") from None

    def salvage(self, fields: Mapping[str, object]) -> dict[str, Value]:
        """Keep what can be kept of the fields of a wrong call, so that a bug does not hide the event itself."""
        kept = {}
        for name, field in self.fields.items():
            with contextlib.suppress(FieldRefused):
                if fields.get(name) is not None:
                    kept[name] = field.check(fields[name])
        return kept


def entries_of(title: str, audience: Audience, *entries: tuple[str, Severity, str, str, str]) -> dict[str, EventType]:
    """The entries under one heading.

    :param entries: name, level, what happened, the fields that it always has, the fields that it may have.
    """
    events = {}
    for name, level, doc, required, optional in entries:
        optional_names = [*optional.split(), *(["message"] if "cause" in (required + " " + optional).split() else [])]
        names = dict.fromkeys((*ALWAYS[:3], *required.split(), *optional_names, *ALWAYS))
        events[name] = EventType(
            name=name,
            level=level,
            fields={field: FIELDS[field] for field in names},
            required=frozenset(required.split()),
            doc=doc,
            audience=audience,
            group=title,
        )
    return events
