"""What the control socket wants of a daemon."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

import attrs

from smartproxy.logs.emit import Events
from smartproxy.policy.faults import Draining, OwnFault
from smartproxy.policy.licence import Licence

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


def instant(when: datetime) -> str:
    """A time as answers have it: ISO 8601 in UTC, to the second."""
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")


def moment(seconds: float) -> str:
    """A time in seconds since 1970 as answers have it."""
    return instant(datetime.fromtimestamp(seconds, UTC))


def written(held: Held | None) -> Facts:
    """The generation in force, or that there is none."""
    if held is None:
        return {"generation": None, "generation_since": None, "generation_from": None}
    return {"generation": held.generation, "generation_since": instant(held.since), "generation_from": held.by}


def licence_facts(licence: Licence, now: datetime) -> Facts:
    """A licence, without its authority's certificate."""
    return {
        "proxy_id": licence.proxy_id,
        "site": licence.site,
        "valid_from": instant(licence.valid_from),
        "valid_until": instant(licence.valid_until),
        "days_left": licence.days_left(now),
        "in_force": licence.in_force(now),
        "limits": dict(licence.limits),
    }


def host_port(host: str, port: int) -> str:
    """An address and a port as one text; an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def killed() -> OwnFault:
    """Why a session ends that an operator ends."""
    return Draining(rule="session.killed", message="ended by an operator")
