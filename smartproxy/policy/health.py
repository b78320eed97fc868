"""How a daemon is, in one word and one sentence, made of what is wrong with it and of what runs out.

Duty: order findings, the worst first, and name what has run out and what runs out next. Judges only what it is given;
asks nobody and reads no clock.
"""

import datetime
import enum
from collections.abc import Iterable, Sequence

import attrs

from smartproxy.policy.values import minute

OK_CODE = "ok"
RAN_OUT_CODE = "ran-out"
_NAMED_MOST = 3
"""So many things that have run out are named; the others are counted."""


class Health(enum.StrEnum):
    """Whether sessions can begin.

    ``OK``: all of them. ``DEGRADED``: some of them, or something has to be done before it is too late. ``DOWN``: none.
    """

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"


@attrs.frozen
class Finding:
    """Something that is wrong.

    :ivar code: its stable name, such as ``no-client``.
    :ivar sentence: what is wrong, and what to do about it.
    """

    code: str
    health: Health
    sentence: str


WORKERS_DOWN = Finding(
    "workers-down",
    Health.DOWN,
    "no session can begin: no worker process has been ready for some seconds: see worker.died and internal.error in "
    "the log",
)
"""Of a daemon whose workers are not there, or do not get ready."""


@attrs.frozen
class Expiry:
    """Something that runs out.

    :ivar what: what it is called, such as ``the licence``.
    :ivar until: the end of its validity, aware.
    """

    what: str
    until: datetime.datetime


@attrs.frozen(kw_only=True)
class Diagnosis:
    """How a daemon is.

    :ivar findings: what is wrong, the worst first; empty if nothing is.
    :ivar next_expiry: what runs out next; ``None`` if nothing does.
    """

    findings: Sequence[Finding]
    next_expiry: Expiry | None

    @property
    def health(self) -> Health:
        """The one word."""
        return self.findings[0].health if self.findings else Health.OK

    @property
    def code(self) -> str:
        """The name of the worst finding, or ``ok``."""
        return self.findings[0].code if self.findings else OK_CODE


def judge(findings: Iterable[Finding], expiries: Iterable[Expiry], now: datetime.datetime) -> Diagnosis:
    """Sum up how a daemon is at *now*; findings of the same health stay in their order."""
    ordered = sorted(expiries, key=lambda each: each.until)
    over = [each for each in ordered if each.until <= now]
    found = [*findings, *([_ran_out(over)] if over else [])]
    return Diagnosis(
        findings=[each for health in (Health.DOWN, Health.DEGRADED) for each in found if each.health is health],
        next_expiry=next((each for each in ordered if each.until > now), None),
    )


def _ran_out(over: Sequence[Expiry]) -> Finding:
    named = [f"{each.what} ended on {minute(each.until)}" for each in over[:_NAMED_MOST]]
    if len(over) > _NAMED_MOST:
        named.append(f"so did {len(over) - _NAMED_MOST} more")
    return Finding(RAN_OUT_CODE, Health.DEGRADED, f"renew what has run out: {'; '.join(named)}")
