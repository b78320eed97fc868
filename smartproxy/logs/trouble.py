"""What becomes of an appender's failures: told once, counted, and told again when they are over.

A log that cannot be written must never stop a session, and must not be silent either: what happened goes to standard
error and, as an event, to the other appenders.
"""

from collections.abc import Callable, Mapping

import attrs

Tell = Callable[[str, Mapping[str, object]], None]
"""Told the name of an event and its fields."""


@attrs.define
class Trouble:
    """Whether an appender works.

    :ivar appender: what it is called: a path, or an address.
    :ivar advice: what an operator can do.
    :ivar cause: why it does not work now; ``None`` while it works.
    :ivar lost: the lines that were lost since it stopped working.
    """

    appender: str
    advice: str
    tell: Tell
    cause: str | None = None
    lost: int = 0

    def failed(self, cause: str, lines: int = 1) -> None:
        """Lines are lost, or will be."""
        self.lost += lines
        if self.cause is None:
            # Before it is told: telling leads here again.
            self.cause = cause
            self.tell("appender.failed", {"appender": self.appender, "cause": cause, "advice": self.advice})

    def over(self) -> None:
        """It works."""
        if self.cause is not None:
            lost, self.cause, self.lost = self.lost, None, 0
            self.tell("appender.recovered", {"appender": self.appender, "count": lost})
