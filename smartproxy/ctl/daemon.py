"""What the control socket wants of a daemon."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

import attrs

from smartproxy.logs.emit import Events

Facts = Mapping[str, object]
"""Names and plain values: what JSON has a form for."""


@attrs.frozen(kw_only=True)
class Held:
    """The generation of the configuration that is in force.

    :ivar since: since when, aware, in UTC.
    :ivar by: who brought it.
    """

    generation: int
    since: datetime
    by: str

    def facts(self) -> Facts:
        """It for an answer."""
        return {"generation": self.generation, "since": instant(self.since), "from": self.by}


NOTHING_HELD: Facts = {"generation": None, "since": None, "from": None}
"""A daemon without a configuration."""


class Condition(Protocol):
    """How a daemon is, and what can be done to it. Everything told is free of secrets."""

    events: Events

    def status(self) -> Facts:
        """How it is; ``verdict`` is one word, ``ok`` if nothing is to be done, and ``advice`` says what is."""

    def sessions(self) -> list[dict[str, object]]:
        """The live sessions; ``since`` is in seconds since 1970."""

    def generation(self) -> Facts:
        """The configuration in force."""

    def licence(self) -> Facts:
        """The licence in force, or those that the daemon carries to its servers."""

    def kill(self, session: str) -> bool:
        """End a session with ESID 05; whether it was there."""


class Process(Protocol):
    """The process of a daemon."""

    def facts(self) -> Facts:
        """Its number, its PID file, since when it runs."""

    def drain(self, seconds: int | None) -> None:
        """End it by draining.

        :param seconds: how long sessions may go on; ``None`` for what is configured.
        :raises Refused: when it drains already and ``seconds`` are not 0, which ends sessions now.
        """


def instant(moment: datetime) -> str:
    """A time as answers have it: ISO 8601 in UTC, to the second."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
