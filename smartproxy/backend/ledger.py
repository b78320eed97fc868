"""The backend's own events on their way into the store.

They happen in the reactor and are stored in a thread, in order, a batch at a time. A batch that finds the store busy or
read-only is tried again. The queue is bounded: what was dropped, or failed otherwise, is counted, and told with the
next batch.
"""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from smartproxy.backend import journal
from smartproxy.backend.errors import StoreBusy, StoreReadOnly, StoreUnavailable
from smartproxy.backend.store import Runner, Store
from smartproxy.logs.carrier import Waiting
from smartproxy.logs.catalogue import look_up
from smartproxy.logs.clock import now
from smartproxy.logs.fields import Value
from smartproxy.logs.record import Record, read
from smartproxy.policy.causes import Cause

WAITING_MOST = 1000
BUSY_SECONDS = 1.0
"""After that long it tries again where the store was busy or read-only."""


class Ledger:
    """Takes the JSON form of records; made to be the ``forward`` of :class:`smartproxy.logs.emit.Events`."""

    _log = Logger(namespace="smartproxy.backend")

    def __init__(self, store: Store, runner: Runner, clock: IReactorTime) -> None:
        self._store = store
        self._runner = runner
        self._clock = clock
        self._waiting: Waiting[Record] = Waiting(WAITING_MOST)
        self._writing: Deferred[None] | None = None
        self._taken: list[Record] = []
        # How many events are lost if the batch is: those that it tells of count, too.
        self._at_stake = 0
        self._finishing = False

    def __call__(self, document: dict[str, Value]) -> None:
        """Take a record; it is stored soon."""
        self._waiting.put(read(document))
        if self._writing is None:
            self._write()

    def finish(self) -> Deferred[None]:
        """Fires when everything taken so far is stored, or could not be; a busy store gets one more chance."""
        self._finishing = True
        done: Deferred[None] = Deferred()
        if self._writing is None:
            return succeed(None)
        self._writing.addCallback(lambda _: done.callback(None))
        return done

    def _write(self) -> None:
        self._writing = Deferred()
        self._next(None)

    def _next(self, result: object) -> None:
        if isinstance(result, Failure):
            if result.check(StoreBusy, StoreReadOnly) and not self._finishing:
                self._log.warn("events are stored later: {reason}", reason=str(result.value))
                self._clock.callLater(BUSY_SECONDS, self._store_again)
                return
            self._waiting.dropped += self._at_stake
            if result.check(StoreUnavailable):
                self._log.error("events are not stored: {reason}", reason=str(result.value))
            else:
                self._log.failure("an event could not be stored", result)
        if not self._waiting:
            done, self._writing = self._writing, None
            if done is not None:
                done.callback(None)
            return
        dropped = self._waiting.lost()
        self._taken = self._waiting.take(len(self._waiting))
        self._at_stake = dropped + len(self._taken)
        if dropped:
            self._taken.insert(0, self._loss(dropped))
        self._store_again()

    def _loss(self, count: int) -> Record:
        told = look_up("events.dropped").check({"count": count, "cause": Cause.EVENTS_STORE})
        return Record("events.dropped", now(self._clock), "backend", 0, told)

    def _store_again(self) -> None:
        self._runner.run(self._keep, self._taken).addBoth(self._next)

    def _keep(self, records: list[Record]) -> None:
        with self._store.writing() as session:
            journal.keep(session, records, now(self._clock), again=True)
