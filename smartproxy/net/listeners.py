"""The ports on which the daemons listen for partners, clients and local programs.

Duty: have exactly those ports open that the generation in force names. A port that stays in the next generation is not
touched, so that a change elsewhere refuses no connection. What has to be closed is closed wholly before anything is
opened, because ``0.0.0.0:6619`` and ``[::]:6619`` are two listeners and one port. A port that cannot be opened is one
event, and is retried every few seconds until it is open; the others are not affected.
"""

import errno
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from smartproxy.logs.emit import Events
from smartproxy.net.deadline import Deadline
from smartproxy.net.transport.inherited import INHERITED
from smartproxy.net.transport.sockets import AcceptedStream, listen_tcp
from smartproxy.policy.addresses import HostPort
from smartproxy.policy.causes import Cause
from smartproxy.policy.settings import Listener

BACKLOG = 4096
"""Connections that the kernel holds until they are accepted; it may hold less (``net.core.somaxconn``).

One that it cannot hold tries again after a second, then after two and four: half a second of a flood has room.
"""

RETRY_SECONDS: Final = 3.0
"""Seconds until a port that could not be opened is tried again."""

_IDLE_ADVICE: Final = (
    "callers at this port wait for ever: name the same address and port in the socket unit (ListenStream=) and in the "
    "configuration"
)

IDLE_SECONDS: Final = 10.0
"""From the moment that some ports are open to the look at sockets that none of them uses: others open meanwhile."""

CAUSES: Final[dict[int | None, tuple[Cause, str]]] = {
    errno.EADDRINUSE: (Cause.PORT_IN_USE, "choose another port, or stop the program that uses it"),
    errno.EACCES: (
        Cause.PORT_NOT_ALLOWED,
        "choose another port, or give the daemon the right to open this one",
    ),
    errno.EADDRNOTAVAIL: (Cause.PORT_NO_ADDRESS, "choose an address of this machine"),
}
"""The system's error, its cause, and what to do about it."""
_NO_IPV6: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
"""How a system says that it has no IPv6: none at all, or one that is switched off."""
UNUSABLE: Final = (Cause.PORT_UNUSABLE, "choose another address or port")
"""Cause and advice of every other error."""


def bound(port: IListeningPort) -> HostPort:
    """The local address and port number of a listening port; the real number where port 0 was configured."""
    host: Any = port.getHost()
    return HostPort(host.host, host.port)


def listen_for_clients(
    reactor: Any, factory: Any, host: str, port: int, events: Events, stream: type[AcceptedStream] = AcceptedStream
) -> IListeningPort:
    """Open the tunnel's port.

    :param stream: what its connections are.
    :raises CannotListenError: after the event that says so.
    """
    try:
        return listen_at(reactor, factory, host, port, stream)
    except CannotListenError as error:
        tell_failed(events, host, port, error)
        raise


def listen_at(
    reactor: Any, factory: Any, host: str, port: int, stream: type[AcceptedStream] = AcceptedStream
) -> IListeningPort:
    """Open a port; on all addresses of both families where none is named and the system has IPv6.

    :param stream: what its connections are.
    :raises CannotListenError: if it cannot be opened.
    """
    listening: IListeningPort
    if host:
        listening = listen_tcp(reactor, port, factory, backlog=BACKLOG, interface=host, stream=stream)
        return listening
    try:
        listening = listen_tcp(reactor, port, factory, backlog=BACKLOG, interface="::", stream=stream)
    except CannotListenError as error:
        if not isinstance(error.socketError, OSError) or error.socketError.errno not in _NO_IPV6:
            raise
        listening = listen_tcp(reactor, port, factory, backlog=BACKLOG, interface="0.0.0.0", stream=stream)  # noqa: S104  No address was named: all of them are meant.
    return listening


def _cause(error: CannotListenError) -> tuple[Cause, str]:
    number = error.socketError.errno if isinstance(error.socketError, OSError) else None
    return CAUSES.get(number, UNUSABLE)


def _words(error: CannotListenError) -> str:
    """The operating system's words, without its number."""
    return (error.socketError.strerror if isinstance(error.socketError, OSError) else None) or str(error.socketError)


def what_to_do(error: CannotListenError) -> str:
    """In one line, which port cannot be opened, why not, and what to do about it."""
    return f"cannot listen at {HostPort(error.interface, error.port)}: {_words(error)}; {_cause(error)[1]}"


def tell_failed(events: Events, host: str, port: int, error: CannotListenError, *, option: str | None = None) -> None:
    """Emit ``listener.failed``: the port, the operating system's words, and what to do about it.

    :param option: the command-line option that sets the port, if there is one.
    """
    cause, advice = _cause(error)
    events.emit(
        "listener.failed",
        address=host or None,
        port=port,
        cause=cause,
        message=_words(error),
        advice=advice if option is None else f"{option}: {advice}",
    )


class Listeners:
    """The open ports.

    :param reactor: opens ports.
    :param factory: makes the factory that a port listens with.
    :param mode: who connects to these ports, for the event.
    :param stream: what their connections are.
    """

    def __init__(
        self,
        reactor: Any,
        factory: Callable[[], IProtocolFactory],
        events: Events,
        *,
        mode: str = "partners",
        stream: type[AcceptedStream] = AcceptedStream,
    ) -> None:
        self._stream = stream
        self._reactor = reactor
        self._factory = factory
        self._events = events
        self._mode = mode
        self._wanted: tuple[Listener, ...] = ()
        self._open: dict[Listener, IListeningPort] = {}
        self._closing = 0
        self._told: dict[Listener, Cause] = {}
        self._retry = Deadline(reactor, self._open_missing)
        self._look = Deadline(reactor, self._tell_idle)

    @property
    def ports(self) -> tuple[HostPort, ...]:
        """Address and port of each open port."""
        return tuple(bound(port) for port in self._open.values())

    @property
    def open(self) -> frozenset[Listener]:
        """The configured listeners that are open."""
        return frozenset(self._open)

    def have(self, wanted: Iterable[Listener], message: str, cause: Cause | None = None) -> Deferred[None]:
        """Close what is open and not wanted; then open what is wanted and not open, again and again until it is.

        :param message: why ports are closed, as one sentence for the event.
        :param cause: the same as a code.
        :return: fires when what had to be closed is closed.
        """
        self._wanted = tuple(wanted)
        self._told = {listener: told for listener, told in self._told.items() if listener in self._wanted}
        leaving = [listener for listener in self._open if listener not in self._wanted]
        closing = [self._close(listener, message, cause) for listener in leaving]
        self._open_missing()
        return gatherResults(closing).addCallback(lambda _: None) if closing else succeed(None)

    def _open_missing(self) -> None:
        """Open what is wanted and not open, unless a port is still being closed: its end comes back to here."""
        self._retry.stop()
        if self._closing:
            return
        for listener in self._wanted:
            if listener not in self._open:
                self._listen(listener)
        if len(self._open) < len(set(self._wanted)):
            self._retry.start(RETRY_SECONDS)
        elif self._wanted and INHERITED.waiting:
            self._look.start(IDLE_SECONDS)

    def _tell_idle(self) -> None:
        for place in INHERITED.idle():
            self._events.emit("listener.idle", address=place.host, port=place.port, advice=_IDLE_ADVICE)

    def _listen(self, listener: Listener) -> None:
        try:
            port = listen_at(self._reactor, self._factory(), listener.address, listener.port, self._stream)
        except CannotListenError as error:
            cause, _ = _cause(error)
            if self._told.get(listener) is not cause:
                self._told[listener] = cause
                tell_failed(self._events, listener.address, listener.port, error)
            return
        self._told.pop(listener, None)
        self._open[listener] = port
        self._events.emit("listener.opened", address=listener.address, port=bound(port).port, mode=self._mode)

    def _close(self, listener: Listener, message: str, cause: Cause | None) -> Deferred[None]:
        port = self._open.pop(listener)
        at = bound(port)
        self._closing += 1

        def closed(result: Any) -> Any:
            # Not before: whoever reads it may count on it that nobody connects there any more.
            self._events.emit("listener.closed", address=at.host, port=at.port, cause=cause, message=message)
            self._closing -= 1
            if not self._closing:
                self._open_missing()
            return result

        return maybeDeferred(port.stopListening).addBoth(closed)
