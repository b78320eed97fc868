"""Who may try to log in at the moment.

Duty: compare passwords in threads of their own, and slow down whoever guesses. A password costs half a second and
64 MiB to compare; only so many wait for it. Failures of a network, and failures for one user, make the next
answers slower, whether the password is right or not: so a right one is not told by its time. Few of each network wait
for that, and they keep nobody else out.
"""

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from smartproxy.backend.administration import Guesses
from smartproxy.backend.store import Runner
from smartproxy.policy import limits
from smartproxy.policy.addresses import network_of

_NAME_MOST = 64
_Proof = TypeVar("_Proof")


class Door:
    """Lets users in, one after the other.

    :param clock: runs the waits.
    :param runner: compares passwords.
    """

    def __init__(self, clock: IReactorTime, runner: Runner) -> None:
        self._clock = clock
        self._runner = runner
        self._guesses = Guesses()
        self._waiting = 0

    async def opens(self, address: str, name: str, check: Callable[[], _Proof]) -> _Proof | None:
        """What a check of a password says, false if it is wrong; ``None`` when too many tries wait already."""
        network, account = network_of(address), f"user {name.lower()[:_NAME_MOST]}"
        seconds = max(self._guesses.count(each, self._clock.seconds()) for each in (network, account))
        if not self._guesses.hold(network):
            return None
        try:
            if seconds:
                await deferLater(self._clock, seconds)
            good = await self._compare(check)
        finally:
            self._guesses.release(network)
        if good:
            for each in (network, account):
                self._guesses.forgive(each)
        return good

    async def _compare(self, check: Callable[[], _Proof]) -> _Proof | None:
        if self._waiting >= limits.LOGINS_WAITING_MOST:
            return None
        self._waiting += 1
        try:
            return await self._runner.run(check)
        finally:
            self._waiting -= 1
