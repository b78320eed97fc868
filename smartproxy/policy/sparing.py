"""How often it is told that somebody was turned away.

Duty: let the same refusal be told now and then instead of each time, with how often it was left out. Whoever is turned
away a thousand times a second must not drown the other events, nor fill the store, nor the memory here: when more are
turned away than are remembered, the rest share one turn. Reads no clock: every call brings the time, in seconds that
only ever grow.
"""

from collections import OrderedDict

import attrs

from smartproxy.policy import limits
from smartproxy.policy.addresses import address_of, prefix_of

_OTHERS = ("", "")
"""Stands for all that the full table has no room for."""


@attrs.define
class _Told:
    """When something was told last, and how often it was left out since."""

    at: float
    silent: int = 0


class Sparing:
    """What was told, of whom, and when."""

    def __init__(self) -> None:
        self._told: OrderedDict[tuple[str, str], _Told] = OrderedDict()

    def __len__(self) -> int:
        return len(self._told)

    def tell(self, address: str, cause: str, now: float) -> int | None:
        """Whether to tell now that *address* is turned away for *cause*.

        :param address: an address, whose prefix counts; anything else counts as it is.
        :return: how often it was left out before; ``None`` to leave it out this time, too.
        """
        key = (_counted(address), cause)
        self._forget(now)
        if key not in self._told and len(self._told) >= limits.REFUSED_TOLD_MOST:
            key = _OTHERS
        told = self._told.get(key)
        if told is not None and now - told.at < limits.REFUSED_TOLD_SECONDS:
            told.silent += 1
            return None
        self._told[key] = _Told(now)
        self._told.move_to_end(key)
        return 0 if told is None else told.silent

    def _forget(self, now: float) -> None:
        """Make room, if there is none, by what may be told again and was not left out lately."""
        while len(self._told) >= limits.REFUSED_TOLD_MOST:
            key, oldest = next(iter(self._told.items()))
            if now - oldest.at < limits.REFUSED_TOLD_SECONDS:
                return
            del self._told[key]


def _counted(address: str) -> str:
    try:
        return prefix_of(address_of(address))
    except ValueError:
        return address
