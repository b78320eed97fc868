"""The ports on which partners, clients and programs inside are awaited.

Duty: have exactly those ports open that the generation in force names; a port that stays in the next generation is not
touched, so that nobody is turned away by a change elsewhere. A port that cannot be opened is an event, and is tried
again with every generation; the others are not affected.
"""

import errno
from collections.abc import Callable, Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from smartproxy.logs.emit import Events
from smartproxy.policy.causes import Cause
from smartproxy.policy.settings import Listener

BACKLOG = 512
"""Connections that the kernel holds until they are accepted."""

_CAUSES: Final[dict[int | None, tuple[Cause, str]]] = {
    errno.EADDRINUSE: (Cause.PORT_IN_USE, "choose another port, or end the program that has it"),
    errno.EACCES: (
        Cause.PORT_NOT_ALLOWED,
        "choose another port, or give the daemon the right to this one",
    ),
    errno.EADDRNOTAVAIL: (Cause.PORT_NO_ADDRESS, "choose an address of this machine"),
}
"""The system's error, its cause, and what to do about it."""


def bound(port: IListeningPort) -> tuple[str, int]:
    """The address and the port that a listening port has; the port is the real one where any was asked for."""
    host: Any = port.getHost()
    return host.host, host.port


def listen_for_clients(reactor: Any, factory: Any, host: str, port: int, events: Events) -> IListeningPort:
    """Open the tunnel's port.

    :raises CannotListenError: after the event that says so.
    """
    try:
        return _listen_at(reactor, factory, host, port)
    except CannotListenError as error:
        tell_failed(events, host, port, error)
        raise


def _listen_at(reactor: Any, factory: Any, host: str, port: int) -> IListeningPort:
    """Open a port; on all addresses of both families where none is named and the system has IPv6."""
    listening: IListeningPort
    if host:
        listening = reactor.listenTCP(port, factory, backlog=BACKLOG, interface=host)
        return listening
    try:
        listening = reactor.listenTCP(port, factory, backlog=BACKLOG, interface="::")
    except CannotListenError:
        listening = reactor.listenTCP(port, factory, backlog=BACKLOG)
    return listening


def tell_failed(events: Events, host: str, port: int, error: CannotListenError, *, option: str | None = None) -> None:
    """Tell that a port could not be opened, in the system's words, and what to do about it.

    :param option: the option of the command line that chooses the port, where one does.
    """
    number = error.socketError.errno if isinstance(error.socketError, OSError) else None
    cause, advice = _CAUSES.get(number, (Cause.PORT_UNUSABLE, "choose another address or port"))
    events.emit(
        "listener.failed",
        address=host or None,
        port=port,
        cause=cause,
        message=str(error.socketError),
        advice=advice if option is None else f"{advice}: {option}",
    )


class Listeners:
    """The open ports.

    :param reactor: opens ports.
    :param factory: makes the factory that a port listens with.
    :param mode: who is awaited there, for the event.
    """

    def __init__(
        self, reactor: Any, factory: Callable[[], IProtocolFactory], events: Events, *, mode: str = "partners"
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._events = events
        self._mode = mode
        self._open: dict[Listener, IListeningPort] = {}

    @property
    def ports(self) -> tuple[tuple[str, int], ...]:
        """Address and port of each open port."""
        return tuple(bound(port) for port in self._open.values())

    @property
    def open(self) -> frozenset[Listener]:
        """What is open, as it is configured."""
        return frozenset(self._open)

    def have(self, wanted: Iterable[Listener], message: str, cause: Cause | None = None) -> Deferred[None]:
        """Open what is wanted and not open, close what is open and not wanted.

        :param message: why ports are closed, as one sentence for the event.
        :param cause: the same as a code.
        :return: fires when what had to be closed is closed.
        """
        wanted = tuple(wanted)
        closing = [self._close(listener, message, cause) for listener in tuple(self._open) if listener not in wanted]
        for listener in wanted:
            if listener not in self._open:
                self._listen(listener)
        return gatherResults(closing).addCallback(lambda _: None) if closing else succeed(None)

    def _listen(self, listener: Listener) -> None:
        try:
            port = _listen_at(self._reactor, self._factory(), listener.address, listener.port)
        except CannotListenError as error:
            tell_failed(self._events, listener.address, listener.port, error)
            return
        self._open[listener] = port
        self._events.emit("listener.opened", address=listener.address, port=bound(port)[1], mode=self._mode)

    def _close(self, listener: Listener, message: str, cause: Cause | None) -> Deferred[None]:
        port = self._open.pop(listener)
        address, number = bound(port)
        self._events.emit("listener.closed", address=address, port=number, cause=cause, message=message)
        closed: Deferred[None] | None = port.stopListening()
        return succeed(None) if closed is None else closed
