"""Effort: whether a session costs far more than any honest one.

Duty: judge what the octets of one partner cost in CPU time, each second, by what they carried. An honest session costs
some nanoseconds an octet, some microseconds a Data Exchange Buffer and a fraction of a millisecond for any other; the
allowances of :mod:`smartproxy.policy.limits` are about ten times that. A session is too costly when it takes a good
part of a processor and more than its allowance; a second in which it does not takes back one in which it did. Reads no
clock: every call brings the times.
"""

from typing import Final

import attrs

from smartproxy.policy import limits


@attrs.frozen(kw_only=True)
class Spent:
    """What a session has cost and carried since it began.

    :ivar seconds: time that working on the partner's octets took.
    :ivar octets: octets that were let pass.
    :ivar buffers: Exchange Buffers that were let pass.
    :ivar commands: those of them that are not DATA.
    """

    seconds: float = 0.0
    octets: int = 0
    buffers: int = 0
    commands: int = 0

    def allowed_since(self, before: "Spent") -> float:
        """The CPU time that what was carried since then may take, in seconds."""
        commands = self.commands - before.commands
        return (
            (self.octets - before.octets) * limits.EFFORT_OCTET_SECONDS
            + (self.buffers - before.buffers - commands) * limits.EFFORT_DATA_SECONDS
            + commands * limits.EFFORT_COMMAND_SECONDS
        )


_NOTHING: Final = Spent()


class Effort:
    """The cost of one session, looked at again and again."""

    __slots__ = ("_before", "_costly")

    def __init__(self) -> None:
        self._before = _NOTHING
        self._costly = 0.0

    def too_costly(self, spent: Spent, seconds: float, share: float = 1.0) -> bool:
        """Whether the session has cost too much for :data:`~smartproxy.policy.limits.EFFORT_SECONDS` now.

        :param spent: what it has cost and carried.
        :param seconds: the time since this was asked last.
        :param share: the part of what it cost since then that was CPU time.
        """
        took = (spent.seconds - self._before.seconds) * share
        costly = took > limits.EFFORT_SHARE * seconds and took > spent.allowed_since(self._before)
        self._before = spent
        self._costly = self._costly + seconds if costly else max(0.0, self._costly - seconds)
        return self._costly >= limits.EFFORT_SECONDS
