"""What the client tells the backend of loads: its own, and what its servers told with their last pings.

Runs beside everything else: a report that does not arrive is not sent again, the next one comes in time. Believes no
server: the backend shows what was told.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from smartproxy.client.backend import Backend, BackendRefused, BackendUnavailable
from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.policy.loads import SERVERS_TOLD_MOST, TELL_SECONDS, ServerLoad, ToldLoad
from smartproxy.tunnel.client_control import ClientControl

_NOT_THERE: Final = 404
_LATER_SECONDS: Final = 3600.0
"""A backend that does not know the call is asked again so much later: it may be another one by then."""


class ToldLoads:
    """Tells of loads between :meth:`start` and :meth:`stop`.

    :param own: measures this client.
    :param controls: the servers that are connected.
    :param reached: whether the backend answered last: where it is away, others find out when it is back.
    """

    def __init__(
        self,
        clock: Any,
        events: Events,
        backend: Backend,
        *,
        own: Callable[[], ToldLoad],
        controls: Callable[[], Iterable[ClientControl]],
        reached: Callable[[], bool],
    ) -> None:
        self._events = events
        self._backend = backend
        self._own = own
        self._controls = controls
        self._reached = reached
        self._next = Deadline(clock, self._tell)
        self._telling: Deferred[None] | None = None

    def start(self) -> None:
        """Tell again and again."""
        self._next.start(TELL_SECONDS)

    def stop(self) -> None:
        """Tell no more."""
        self._next.stop()
        if self._telling is not None:
            self._telling.cancel()

    def _tell(self) -> None:
        self._next.start(TELL_SECONDS)
        if self._telling is None and self._reached():
            servers = {each.proxy_id: each.load for each in self._controls() if each.load is not None}
            told = [ServerLoad(proxy_id=name, load=load) for name, load in servers.items()][:SERVERS_TOLD_MOST]
            self._telling = Deferred.fromCoroutine(self._backend.loads(self._own(), told))
            self._telling.addBoth(self._told)

    def _told(self, result: object) -> None:
        self._telling = None
        if not isinstance(result, Failure):
            return
        if isinstance(result.value, BackendRefused) and result.value.status == _NOT_THERE:
            # A backend of before: it writes down every call that it does not know.
            self._next.start(_LATER_SECONDS)
        elif result.check(BackendRefused, BackendUnavailable, CancelledError) is None:
            self._events.failure("smartproxy.client.told_loads", result)
