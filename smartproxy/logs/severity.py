"""How much an event matters: the operators' six levels, and their place on Twisted's five.

Twisted's log levels are a closed set without TRACE, and call the last one "critical" where operators say FATAL. The
level of an event is therefore a :class:`Severity`, and what Twisted is told is the nearest of its own.
"""

import enum
from typing import Final

from constantly import NamedConstant
from twisted.logger import LogLevel


class Severity(enum.IntEnum):
    """The levels, in rising order. ``FATAL`` is the operators' word for ``CRITICAL``.

    :ivar label: the word that stands in records, such as ``warning``.
    :ivar twisted: the level that Twisted's observers and filters see.
    """

    label: str
    twisted: NamedConstant

    TRACE = 5
    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50
    FATAL = 50

    @classmethod
    def named(cls, label: str) -> "Severity":
        """Find the level for a word in any case.

        :raises ValueError: for any other word; the message lists the right ones.
        """
        try:
            return cls[label.upper()]
        except KeyError:
            words = ", ".join(word.lower() for word in cls.__members__)
            raise ValueError(f"unknown level {label!r}; levels are {words}") from None

    @classmethod
    def of_twisted(cls, level: NamedConstant | None) -> "Severity":
        """Tell the level of an entry that did not come from the catalogue; one without a level counts as INFO."""
        return _OPERATORS.get(level, cls.INFO)


SIGNALS: Final = {
    20: Severity.TRACE,
    21: Severity.DEBUG,
    22: Severity.INFO,
    23: Severity.ERROR,
    24: Severity.FATAL,
}
"""The levels that signals ask for, by Linux's numbers: TSTP, TTIN, TTOU, URG, XCPU."""

_TWISTED = {
    Severity.TRACE: LogLevel.debug,
    Severity.DEBUG: LogLevel.debug,
    Severity.INFO: LogLevel.info,
    Severity.WARNING: LogLevel.warn,
    Severity.ERROR: LogLevel.error,
    Severity.CRITICAL: LogLevel.critical,
}
for _each, _level in _TWISTED.items():
    _each.label = _each.name.lower()
    _each.twisted = _level
_OPERATORS: dict[NamedConstant | None, Severity] = {
    twisted: severity for severity, twisted in _TWISTED.items() if severity is not Severity.TRACE
}
