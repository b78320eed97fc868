"""What an event of the catalogue is: who emits it, who reads it, which fields it may have and which it always has.

Trusts no caller: :meth:`EventType.check` stands between a wrong call, or a wrong record, and the log.
"""

import contextlib
import enum
from collections.abc import Mapping
from typing import Any

import attrs

from smartproxy.logs.fields import FIELDS, EventField, FieldRefused, Value
from smartproxy.logs.severity import Severity
from smartproxy.policy.limits import NUMBER_MOST


class Audience(enum.Enum):
    """Who reads an event first."""

    OPERATIONS = "operations"  #: runs the daemons
    SECURITY = "security"  #: watches for intruders; feeds an IDS
    DEVELOPMENT = "development"  #: mends the program


class Emitter(enum.Flag):
    """Which daemons emit an event; what the operator's command records is the backend's."""

    SERVER = enum.auto()
    CLIENT = enum.auto()
    BACKEND = enum.auto()
    PLAIN = enum.auto()  #: either of the plain pair, which carries no event

    def named(self, source: str) -> bool:
        """Whether a record names one of these as its source; no other word does."""
        return source in _SOURCES[self._value_]

    def __str__(self) -> str:
        """Their names, as records have them."""
        return " or ".join(str(each.name).lower() for each in self)


_SOURCES: Mapping[int, frozenset[str]] = {
    some: frozenset(str(each.name).lower() for each in Emitter if each.value & some)
    for some in range(2 ** len(Emitter))
}
"""The words that records have for some daemons, by the value of these: looked up for every record that arrives."""


class CatalogueError(ValueError):
    """An event was emitted that the catalogue does not know in this form; the message is our own words alone.

    :ivar detail: names that whoever emitted it chose, where it is about them.
    """

    def __init__(self, message: str, detail: str | None = None) -> None:
        super().__init__(message)
        self.detail = detail


ALWAYS = ("session", "partner", "peer", "direction", "client", "generation", "detail", "facts")
"""Fields that may stand in every event beside its own."""


@attrs.frozen(kw_only=True)
class EventType:
    """One entry of the catalogue.

    :ivar name: ``subject.what``.
    :ivar level: how much it matters.
    :ivar emitters: which daemons emit it.
    :ivar fields: the fields that it may have, by name.
    :ivar required: the names of those that it always has.
    :ivar doc: what happened, in one sentence.
    :ivar audience: who reads it first.
    :ivar group: the heading under which the documents list it.
    """

    name: str
    level: Severity
    emitters: Emitter
    fields: Mapping[str, EventField]
    required: frozenset[str]
    doc: str
    audience: Audience
    group: str

    def check(self, fields: Mapping[str, object]) -> dict[str, Value]:
        """Bring fields into the form and order in which records hold them; those that are ``None`` are left out.

        :raises CatalogueError: for an unknown field, a missing one, or a value of another type.
        """
        if not fields.keys() <= self.fields.keys():
            unknown = sorted(name for name in fields.keys() - self.fields.keys() if fields[name] is not None)
            if unknown:
                raise CatalogueError(f"{self.name} has a field that it cannot have", ", ".join(unknown))
        checked: dict[str, Value] = {}
        try:
            for name, field in self.fields.items():
                value: Any = fields.get(name)
                if value is not None:
                    # Most values are what they have to be as they are, and cost no call.
                    kind = value.__class__
                    if (
                        kind is not field.plain
                        or (kind is int and not field.least <= value <= NUMBER_MOST)
                        or (field.longest is not None and (len(value) > field.longest or not value.isprintable()))
                    ):
                        value = field.check(value)
                    checked[name] = value
        except FieldRefused as refused:
            raise CatalogueError(f"{self.name}: {refused}") from None
        if missing := self.required - checked.keys():
            raise CatalogueError(f"{self.name} lacks {', '.join(sorted(missing))}")
        return checked

    def salvage(self, fields: Mapping[str, object]) -> dict[str, Value]:
        """Keep what can be kept of the fields of a wrong call, so that a bug does not hide the event itself."""
        kept = {}
        for name, field in self.fields.items():
            with contextlib.suppress(FieldRefused):
                if fields.get(name) is not None:
                    kept[name] = field.check(fields[name])
        return kept


def entries_of(
    title: str, audience: Audience, *entries: tuple[str, Severity, Emitter, str, str, str]
) -> dict[str, EventType]:
    """The entries under one heading.

    :param entries: name, level, which daemons emit it, what happened, the fields that it always has, those that it may
        have.
    """
    events = {}
    for name, level, emitters, doc, required, optional in entries:
        optional_names = [*optional.split(), *(["message"] if "cause" in (required + " " + optional).split() else [])]
        names = dict.fromkeys((*ALWAYS[:3], *required.split(), *optional_names, *ALWAYS))
        events[name] = EventType(
            name=name,
            level=level,
            emitters=emitters,
            fields={field: FIELDS[field] for field in names},
            required=frozenset(required.split()),
            doc=doc,
            audience=audience,
            group=title,
        )
    return events
