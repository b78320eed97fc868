"""The client's pool of data connections: some ready, more on demand, up to a limit.

A session takes the connection that was used last; beyond the ready ones, those that are not used are closed after a
while, and ready ones that are not used are replaced before a firewall on the way drops them silently.
"""

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault
from smartproxy.tunnel.data import DataConnection
from smartproxy.tunnel.faults import Closing, Violation


class DataPool:
    """The data connections of one tunnel, while it is up.

    :param dial: makes a connection that this pool owns; fails with whatever kept it from that.
    :param ready: how many are kept that carry no session.
    :param most: the largest number of connections.
    :param others: the number of connections beside this pool's that count for ``most``.
    :param emptied: told when the last connection is gone.
    """

    def __init__(
        self,
        dial: Callable[["DataPool"], Deferred[DataConnection]],
        clock: IReactorTime,
        events: Events,
        *,
        ready: int,
        most: int,
        others: Callable[[], int] = lambda: 0,
        emptied: Callable[["DataPool"], object] = lambda pool: None,
    ) -> None:
        self._others = others
        self._emptied = emptied
        self._dial = dial
        self._clock = clock
        self._events = events
        self._ready = min(ready, most)
        self._most = most
        self._idle: list[DataConnection] = []
        self._all: set[DataConnection] = set()
        self._dialling: set[Deferred[DataConnection]] = set()
        self._spares = 0
        self._closed = False
        self._next = Deadline(clock, self._upkeep)

    def __len__(self) -> int:
        """How many there are, those that are being dialled included."""
        return self.connected + len(self._dialling)

    @property
    def connected(self) -> int:
        """How many there are that need not be dialled any more."""
        return len(self._all)

    @property
    def idle(self) -> int:
        """How many carry no session."""
        return len(self._idle)

    def start(self) -> None:
        """Keep connections ready from now on."""
        self._upkeep()

    def stop(self, why: Closing) -> None:
        """Abort all connections, those that are being dialled included, and dial none any more."""
        self._closed = True
        self._next.stop()
        for dialling in list(self._dialling):
            dialling.cancel()
        for connection in list(self._all):
            connection.abort(why)

    def keep(self, ready: int, most: int) -> None:
        """Keep so many ready, and have so many at most, from now on; what is more than that is let go as it is idle."""
        self._ready, self._most = min(ready, most), most
        self._top_up()

    def take_idle(self) -> DataConnection | None:
        """A connection for a session, if one is there."""
        while self._idle:
            # The one that was used last: those that are too many stay unused, and are closed for that.
            connection = self._idle.pop()
            if connection.open:
                self._top_up()
                return connection
        return None

    async def take(self) -> DataConnection:
        """A connection for a session, which is made if none is there.

        :raises OwnFault: if none is idle and none can be made.
        """
        connection = self.take_idle()
        if connection is not None:
            return connection
        # A spare that is being dialled does not count against the limit.
        if len(self) + self._others() - self._spares >= self._most:
            raise _none(f"all {self._most} data connections of the client are in use (pool.most)")
        try:
            connection = await self._one_more()
        except (CancelledError, OwnFault):
            raise
        except Exception as error:
            raise _none(f"no data connection to the server: {error}") from error
        self._top_up()
        return connection

    async def _one_more(self) -> DataConnection:
        dialling = self._dial(self)
        self._dialling.add(dialling)
        try:
            connection = await dialling
        except Exception as error:
            # That is how a dial ends that was cancelled with the pool.
            if self._closed:
                raise _none("the tunnel is down") from error
            raise
        finally:
            self._dialling.discard(dialling)
        if self._closed or not connection.open:
            connection.abort(Closing(Cause.TUNNEL_LOST, "the tunnel is down"))
            raise _none("the tunnel is down")
        self._all.add(connection)
        return connection

    # For connections.

    def data_attached(self, connection: DataConnection, ticket: bytes) -> None:
        """Never at this end."""
        raise Violation(Cause.DATA_ATTACH, "the server sent ATTACH, which only the client may send")

    def data_idle(self, connection: DataConnection) -> None:
        """A session is over; its connection waits for the next."""
        self._idle.append(connection)

    def data_gone(self, connection: DataConnection) -> None:
        """A connection is gone."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not len(self):
            self._emptied(self)

    def data_violated(self, connection: DataConnection, violation: Violation) -> None:
        """The server broke a rule of marks."""
        violation.tell(self._events, peer=connection.peer)

    # Upkeep.

    def _upkeep(self) -> None:
        self._next.start(limits.POOL_UPKEEP_SECONDS)
        now = self._clock.seconds()
        for connection in sorted(self._idle, key=lambda each: each.idle_since):
            unused = now - connection.idle_since
            surplus = len(self._idle) > self._ready and unused > limits.DATA_SURPLUS_SECONDS
            if surplus or unused > limits.DATA_REFRESH_SECONDS:
                self._idle.remove(connection)
                connection.close(Closing(Cause.TUNNEL_IDLE, "not used"))
        self._top_up()

    def _top_up(self) -> None:
        """Dial what is missing from the ready ones; a failure waits for the next look."""
        while not self._closed and self.idle + self._spares < self._ready and len(self) + self._others() < self._most:
            self._spares += 1
            Deferred.fromCoroutine(self._spare())

    async def _spare(self) -> None:
        try:
            connection = await self._one_more()
        except Exception:
            # The session that needs a connection and gets none tells why.
            return
        finally:
            self._spares -= 1
        if len(self) + self._others() > self._most:
            connection.close(Closing(Cause.TUNNEL_IDLE, "not needed"))
        else:
            self._idle.append(connection)


def _none(message: str) -> OwnFault:
    return OwnFault(rule=Cause.TUNNEL_POOL, message=message)
