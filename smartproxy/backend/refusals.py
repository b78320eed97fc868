"""Calls of the API that are refused: what the caller is told, and how often it is worth an event.

Every refused call is an event, but a caller that is refused a thousand times a minute must not fill the store: each
address has a few events at once and then some a minute; the next one that is written says how many were not.
"""

from collections import OrderedDict

import attrs

EVENTS_AT_ONCE = 10
EVENT_EVERY_SECONDS = 6.0
ADDRESSES_MOST = 1024


@attrs.define(eq=False, auto_exc=True, str=False)
class CallRefused(Exception):
    """A call that is refused.

    :ivar status: the http status.
    :ivar code: the stable name of the error, such as ``token``.
    :ivar message: what is wrong.
    :ivar advice: what to do about it, without a capital letter and a full stop: callers append it to the message.
    """

    status: int
    code: str
    message: str
    advice: str

    def document(self) -> dict[str, str]:
        """The body of the answer."""
        return {"error": self.code, "message": self.message, "advice": self.advice}

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}"


@attrs.define
class _Allowance:
    left: float
    seen: float
    silent: int = 0


class RefusalRate:
    """How many refusals of an address are written down."""

    def __init__(self) -> None:
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()

    def admit(self, address: str, now: float) -> int | None:
        """Whether a refusal is to be written, and how many before it were not; ``None`` when it is not."""
        allowance = self._allowances.pop(address, None) or _Allowance(EVENTS_AT_ONCE, now)
        self._allowances[address] = allowance
        if len(self._allowances) > ADDRESSES_MOST:
            self._allowances.popitem(last=False)
        gained = (now - allowance.seen) / EVENT_EVERY_SECONDS
        allowance.left, allowance.seen = min(EVENTS_AT_ONCE, allowance.left + gained), now
        if allowance.left < 1:
            allowance.silent += 1
            return None
        silent, allowance.silent = allowance.silent, 0
        allowance.left -= 1
        return silent
