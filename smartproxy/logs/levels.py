"""What is logged, from which level upwards: for everything, for a category, for one session, for one partner.

One :class:`Levels` stands for all that a daemon logs and may be changed at any moment. A category is the subject of an
event's name (``session``), the heading under which the catalogue lists it (``connections``), ``log`` for the words of
Twisted and other libraries, or ``*`` for all that nothing else names. What is said for a session goes before what is
said for its partner, that before a subject, a subject before a heading, and a heading before ``*``.
"""

from collections.abc import Mapping

from smartproxy.logs.catalogue import EVENTS
from smartproxy.logs.severity import Severity

EVERYTHING = "*"
FOREIGN = "log"
"""The category of entries that are no records of the catalogue."""
LEVEL_CHANGED = "level.changed"
"""The one event that is logged whatever the level is."""
_OF_SESSION = "session "
_OF_PARTNER = "partner "
PARTICULAR_MOST = 1000
"""Sessions, and partners, that may have a level of their own; the oldest give way."""


def subject(name: str) -> str:
    """The subject of an event's name."""
    return name.partition(".")[0]


def heading(name: str) -> str:
    """The catalogue's heading of an event, as a category: in lower case, with hyphens; empty for a foreign entry."""
    event = EVENTS.get(name)
    return "" if event is None else event.group.lower().replace(" ", "-")


CATEGORIES = frozenset({EVERYTHING, FOREIGN, *map(subject, EVENTS), *map(heading, EVENTS)})
"""All categories."""


class Levels:
    """The levels of one daemon's log.

    :param configured: the levels of categories; ``*`` is INFO if it is not among them.
    :ivar lowest: below this level nothing is logged but a change of the level, whatever it is about.
    """

    def __init__(self, configured: Mapping[str, Severity] | None = None) -> None:
        self._configured = {EVERYTHING: Severity.INFO, **(configured or {})}
        self._categories = dict(self._configured)
        self._sessions: dict[str, Severity] = {}
        self._partners: dict[str, Severity] = {}
        self._known: dict[str, Severity] = {}
        self.lowest = self._lowest()

    def set(
        self,
        severity: Severity | None,
        *,
        session: str | None = None,
        partner: str | None = None,
        category: str | None = None,
    ) -> Severity:
        """Log from a level upwards: a session, a partner, a category, or, if none of them is given, everything.

        What is said for everything takes the place of all that was said before. Safe to be called by a signal.

        :param severity: ``None`` for what was configured.
        :return: the level that is now in force for what was named.
        :raises ValueError: for a category that does not exist, and if more than one thing is named.
        """
        named = [each for each in (session, partner, category) if each is not None]
        if len(named) > 1:
            raise ValueError("a level is set for a session, a partner or a category, not for several at once")
        if session is not None:
            _put(self._sessions, session, severity)
        elif partner is not None:
            _put(self._partners, partner, severity)
        elif category is not None:
            self._set_category(category, severity)
        else:
            self._categories = dict(self._configured) if severity is None else {EVERYTHING: severity}
            self._sessions, self._partners = {}, {}
        self._known = {}
        self.lowest = self._lowest()
        return severity or self._categories.get(category or EVERYTHING, self._categories[EVERYTHING])

    def forget(self, session: str) -> None:
        """Keep no level for a session that is over."""
        if self._sessions.pop(session, None) is not None:
            self.lowest = self._lowest()

    def _lowest(self) -> Severity:
        return min((*self._categories.values(), *self._sessions.values(), *self._partners.values()))

    def _set_category(self, category: str, severity: Severity | None) -> None:
        if category not in CATEGORIES:
            raise ValueError(f"unknown category {category!r}; categories are {', '.join(sorted(CATEGORIES))}")
        severity = severity or self._configured.get(category)
        if severity is None:
            self._categories.pop(category, None)
        else:
            self._categories[category] = severity

    def wants(self, name: str, severity: Severity, session: object = None, partner: object = None) -> bool:
        """Tell whether an entry is to be logged.

        :param name: of the event, or :data:`FOREIGN`.
        :param session: its session, if it has one.
        :param partner: its partner, if it has one.
        """
        level = None
        if self._sessions and isinstance(session, str):
            level = self._sessions.get(session)
        if level is None and self._partners and isinstance(partner, str):
            level = self._partners.get(partner)
        if level is None:
            level = self._known.get(name)
        if level is None:
            level = self._known[name] = self._level_of(name)
        return severity >= level or name == LEVEL_CHANGED

    def _level_of(self, name: str) -> Severity:
        for category in (subject(name), heading(name)):
            if category in self._categories:
                return self._categories[category]
        return self._categories[EVERYTHING]

    def adopt(self, described: Mapping[str, str]) -> None:
        """Log as another process does: what :meth:`described` tells there.

        :raises ValueError: for a level that does not exist.
        """
        severities = {name: Severity.named(label) for name, label in described.items()}
        self._sessions = {n.removeprefix(_OF_SESSION): s for n, s in severities.items() if n.startswith(_OF_SESSION)}
        self._partners = {n.removeprefix(_OF_PARTNER): s for n, s in severities.items() if n.startswith(_OF_PARTNER)}
        self._categories = {name: s for name, s in severities.items() if " " not in name}
        self._known = {}
        self.lowest = self._lowest()

    def described(self) -> dict[str, str]:
        """All that is in force, for people: ``*``, categories, ``session ID`` and ``partner NAME``."""
        return {
            **{category: severity.label for category, severity in sorted(self._categories.items())},
            **{f"{_OF_SESSION}{name}": severity.label for name, severity in self._sessions.items()},
            **{f"{_OF_PARTNER}{name}": severity.label for name, severity in self._partners.items()},
        }


def _put(levels: dict[str, Severity], name: str, severity: Severity | None) -> None:
    levels.pop(name, None)
    if severity is not None:
        levels[name] = severity
        while len(levels) > PARTICULAR_MOST:
            del levels[next(iter(levels))]
