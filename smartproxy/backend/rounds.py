"""Work that looks into the store again and again, one look after the other."""

from collections.abc import Awaitable, Callable
from typing import ClassVar, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from smartproxy.backend.errors import StoreBusy, StoreUnavailable
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline

STORE_LOOK_SECONDS: Final = 1.0
"""So often the store is asked what is to be done."""
AGAIN_SECONDS: Final = 60.0
"""After that long where the store could not be asked."""


class Rounds:
    """The looks, between :meth:`start` and :meth:`stop`.

    :param look: one look, which never fails; it says after how many seconds the next one comes.
    :ivar running: whether they go on.
    """

    def __init__(self, clock: IReactorTime, look: Callable[[], Awaitable[float]]) -> None:
        self._look = look
        self._looking: Deferred[None] | None = None
        self._next = Deadline(clock, self.wake)
        self._again = False
        self.running = False

    def start(self) -> None:
        """Look now, and again and again."""
        self.running = True
        self.wake()

    def wake(self) -> None:
        """Look now, or at once after the look that is going on."""
        if not self.running:
            return
        if self._looking is not None:
            self._again = True
            return
        self._next.stop()
        self._again = False
        looked: Deferred[None] = Deferred()
        self._looking = looked
        Deferred.fromCoroutine(self._once()).addCallback(self._looked, looked)

    def stop(self) -> Deferred[None]:
        """Stop looking; fires when the look that is going on has ended."""
        self.running = False
        self._next.stop()
        if self._looking is None:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._looking.addCallback(lambda _: stopped.callback(None))
        return stopped

    async def _once(self) -> float:
        return await self._look()

    def _looked(self, seconds: float, looked: Deferred[None]) -> None:
        self._looking = None
        looked.callback(None)
        if self.running and self._again:
            self.wake()
        elif self.running:
            self._next.start(seconds)


class StoreRounds:
    """Work on the store that comes again and again, between :meth:`start` and :meth:`stop`.

    A subclass says what one look does. Whatever a look raises, the next one comes: that the store is away is told by
    :class:`~smartproxy.backend.upkeep.HourlyLook` alone, anything else is reported as a bug.

    :cvar busy_seconds: after that long it looks again where the store was busy.
    :cvar fault_seconds: after that long where the store cannot be used for another cause, and after a bug.
    """

    busy_seconds: ClassVar[float] = AGAIN_SECONDS
    fault_seconds: ClassVar[float] = AGAIN_SECONDS

    def __init__(self, store: Store, runner: Runner, events: Events, clock: IReactorTime) -> None:
        self._store = store
        self._runner = runner
        self._events = events
        self._clock = clock
        self._rounds = Rounds(clock, self._once)

    def start(self) -> None:
        """Look now, and again and again."""
        self._rounds.start()

    def stop(self) -> Deferred[None]:
        """Stop looking; fires when the look that is going on has ended."""
        return self._rounds.stop()

    async def look(self) -> float:
        """One look; return after how many seconds the next one comes."""
        raise NotImplementedError

    def tell_away(self, fault: StoreUnavailable) -> None:
        """The store could not be asked."""

    async def _once(self) -> float:
        try:
            return await self.look()
        except StoreUnavailable as fault:
            self.tell_away(fault)
            return self.busy_seconds if isinstance(fault, StoreBusy) else self.fault_seconds
        except Exception:
            self._events.failure(type(self).__module__, Failure())
            return self.fault_seconds
