"""Several backends on one PostgreSQL: who hears of the others' changes, and who does what runs by itself.

A change is announced by PostgreSQL, on a connection that the reactor reads without waiting (:class:`Hearing`). What
runs by itself runs in one backend: the one that holds an advisory lock (:class:`Duty`). PostgreSQL frees the lock when
the connection of its holder is gone, and another backend takes it. With SQLite there is one backend, which is on duty,
and nothing is announced. Both go on by themselves after a database that was away; until then, who waits for news asks
the store again and again, and nothing runs by itself.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from smartproxy.backend.database import CHANNEL, DUTY_LOCK, Lone
from smartproxy.backend.errors import StoreUnavailable
from smartproxy.backend.rounds import Rounds
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.policy.causes import Cause
from smartproxy.policy.limits import RETRY_SECONDS_FIRST, RETRY_SECONDS_MOST

DUTY_SECONDS = 2.0
"""How often a backend looks whether it has the duty, or may take it."""


class Job(Protocol):
    """Work that runs by itself."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> Deferred[None] | None:
        """Do no more of it; fires when what is under way has ended."""


@implementer(IReadDescriptor)
class _Line:
    """The connection on which PostgreSQL tells of changes, as the reactor reads it."""

    def __init__(self, lone: Lone, told: Callable[[], None], lost: Callable[[], None]) -> None:
        self.lone = lone
        self._told = told
        self._lost = lost

    def fileno(self) -> int:
        """The socket."""
        return self.lone.socket

    def doRead(self) -> None:
        """Take what is there, and never wait for more."""
        try:
            told = self.lone.notified()
        except StoreUnavailable:
            self._lost()
            return
        if told:
            self._told()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stopped reading it: it met an end, or what was raised was none."""
        self._lost()

    def logPrefix(self) -> str:
        """Its name in the reactor's log."""
        return "smartproxy.backend.several"


class Hearing:
    """Hears of changes that other backends and the command make, between :meth:`start` and :meth:`stop`.

    :param told: called after a change, and when it begins to hear again: something may have changed meanwhile.
    :param hears: called with whether changes are heard, whenever that becomes another.
    :param failed: told what nobody expected; it begins anew all the same.
    """

    def __init__(
        self,
        store: Store,
        runner: Runner,
        reactor: Any,
        told: Callable[[], None],
        hears: Callable[[bool], None],
        failed: Callable[[Failure], object],
    ) -> None:
        self._store = store
        self._runner = runner
        self._fds: IReactorFDSet = reactor
        self._clock: IReactorTime = reactor
        self._told = told
        self._hears = hears
        self._bug = failed
        self._line: _Line | None = None
        self._again = Deadline(reactor, self._connect)
        self._retry = RETRY_SECONDS_FIRST
        self._running = False

    def start(self) -> None:
        """Listen."""
        self._running = self._store.location.is_postgresql
        if self._running:
            self._connect()

    def stop(self) -> None:
        """Stop listening."""
        self._running = False
        self._again.stop()
        if self._line is not None:
            self._fds.removeReader(self._line)
            self._line.lone.close()
            self._line = None

    def _connect(self) -> None:
        self._runner.run(self._listen).addCallbacks(self._connected, self._failed)

    def _listen(self) -> Lone:
        lone = Lone(self._store.engine, self._store.location)
        lone.execute(f"LISTEN {CHANNEL}")
        return lone

    def _connected(self, lone: Lone) -> None:
        if not self._running:
            lone.close()
            return
        self._line = _Line(lone, self._told, self._lost)
        self._retry = RETRY_SECONDS_FIRST
        self._fds.addReader(self._line)
        self._hears(True)
        self._told()

    def _lost(self) -> None:
        line, self._line = self._line, None
        if line is None:
            return
        self._fds.removeReader(line)
        line.lone.close()
        self._hears(False)
        self._later()

    def _failed(self, failure: Failure) -> None:
        # That the store is away is told by whoever needs it; this only asks again.
        if failure.check(StoreUnavailable) is None:
            self._bug(failure)
        if self._running:
            self._later()

    def _later(self) -> None:
        self._again.start(self._retry)
        self._retry = min(self._retry * 2, RETRY_SECONDS_MOST)


class Duty:
    """Has what runs by itself run here while this backend is on duty, between :meth:`start` and :meth:`stop`.

    :param jobs: makes what runs by itself, anew whenever this backend takes the duty.
    :ivar here: whether this backend is on duty.
    """

    def __init__(
        self, store: Store, runner: Runner, events: Events, clock: IReactorTime, jobs: Callable[[], Sequence[Job]]
    ) -> None:
        self.here = False
        self._store = store
        self._runner = runner
        self._events = events
        self._jobs = jobs
        self._running: Sequence[Job] = ()
        self._lone: Lone | None = None
        self._stopped = False
        self._rounds = Rounds(clock, self._look)

    def start(self) -> None:
        """Take the duty, now or when it is free."""
        if self._store.location.is_postgresql:
            self._rounds.start()
        else:
            self._begin()

    def stop(self) -> Deferred[None]:
        """Stop what runs by itself, and leave the duty to another backend."""
        self._stopped = True
        self._rounds.stop()
        return self._end().addCallback(lambda _: self._runner.run(self._leave))

    async def _look(self) -> float:
        await self._compare()
        return DUTY_SECONDS

    async def _compare(self) -> None:
        reason = ""
        try:
            held = await self._runner.run(self._hold)
        except StoreUnavailable as error:
            held, reason = False, str(error)
        except Exception:
            held = False
            self._events.failure("smartproxy.backend.several", Failure())
        if self._stopped or held == self.here:
            return
        if held:
            self._events.emit("backend.duty_taken")
            self._begin()
        else:
            self._events.emit("backend.duty_lost", cause=Cause.STORE_BUSY, message=reason)
            self._end()

    def _begin(self) -> None:
        self.here = True
        self._running = self._jobs()
        for job in self._running:
            job.start()

    def _end(self) -> Deferred[Any]:
        running, self._running = self._running, ()
        self.here = False
        return DeferredList([maybeDeferred(job.stop) for job in running])

    def _hold(self) -> bool:
        """Whether the lock is ours, in a thread."""
        if self._stopped:
            return False
        try:
            if self._lone is None:
                self._lone = Lone(self._store.engine, self._store.location)
            if self.here:
                # The lock lives as long as the connection does.
                self._lone.execute("SELECT 1")
                return True
            return bool(self._lone.execute(f"SELECT pg_try_advisory_lock({DUTY_LOCK})"))
        except StoreUnavailable:
            self._leave()
            raise

    def _leave(self) -> None:
        lone, self._lone = self._lone, None
        if lone is not None:
            lone.close()
