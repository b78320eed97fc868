"""Listening sockets that the process was given when it started, by the service manager or by the daemon before it.

Duty: know them, and lend the one that is bound where a port is to be opened. They stay open as long as the process
lives, also while nothing is accepted from them: whoever connects then waits, and is not refused. Never closes, binds or
shuts down one of the manager's own. Has the manager keep those that the process opens itself, where it does that, for
the next process: it gives them back if this one is killed. Trusts whoever started the process.

Standards: sd_listen_fds(3), sd_pid_notify_with_fds(3) (FDSTORE, FDSTOREREMOVE).
"""

import os
import socket
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import Final

from twisted.internet import endpoints
from twisted.python.systemd import ListenFDs

from smartproxy.policy.addresses import HostPort

_ALL: Final = "0.0.0.0"  # noqa: S104  What a socket unit may be bound to.
_ALL_IPV6: Final = "::"
_STORED: Final = "stored-"
"""What the name of a socket begins with that the manager keeps for this daemon."""


class NotListening(ValueError):
    """A descriptor is no listening TCP socket; the message says which, and what to do."""


class Inherited:
    """The sockets of this process.

    :ivar store: tells the service manager, where it keeps sockets: a word, and descriptors with it.
    """

    def __init__(self) -> None:
        self.store: Callable[[str, Sequence[int]], object] | None = None
        self._sockets: list[socket.socket] = []
        self._idle: list[socket.socket] = []
        self._handed_over: set[socket.socket] = set()

    def keep(self, descriptors: Iterable[int], *, handed_over: bool = False) -> None:
        """Know these from now on.

        :param handed_over: whether they come from the daemon before this one: then they are closed with their ports.
        :raises NotListening: for another kind of descriptor.
        """
        for descriptor in descriptors:
            found = _listening(descriptor)
            self._sockets.append(found)
            self._idle.append(found)
            if handed_over:
                self._handed_over.add(found)

    @property
    def managed(self) -> list[int]:
        """The descriptors of those that belong to the service manager."""
        return [found.fileno() for found in self._sockets if found not in self._handed_over]

    @property
    def waiting(self) -> bool:
        """Whether there is one that was never lent, and not told of."""
        return bool(self._idle)

    def lend(self, interface: str, port: int) -> socket.socket | None:
        """A descriptor of its own of the socket that listens there; ``None`` if none does.

        :param interface: an address; empty for all of IPv4.
        """
        for found in self._sockets:
            if _listens_at(found, interface or _ALL, port):
                if found in self._idle:
                    self._idle.remove(found)
                lent = found.dup()
                if found in self._handed_over:
                    self._drop(found)
                return lent
        return None

    def idle(self) -> list[HostPort]:
        """Where the service manager's listen that were never lent, each told once; all others of these are closed."""
        told = []
        for found in self._idle:
            if found in self._handed_over:
                # The service manager may keep it, too, for a process that follows a killed one.
                self.closed(found)
                self._drop(found)
            else:
                told.append(HostPort(*found.getsockname()[:2]))
        self._idle.clear()
        return told

    def opened(self, port: socket.socket) -> None:
        """The process opened a port itself."""
        if self.store is not None:
            self.store(f"FDSTORE=1\nFDNAME={_stored_name(port)}", [port.fileno()])

    def closed(self, port: socket.socket) -> None:
        """The process closes a port, and no other takes over from it."""
        if self.store is not None:
            self.store(f"FDSTOREREMOVE=1\nFDNAME={_stored_name(port)}", [])

    def _drop(self, found: socket.socket) -> None:
        self._handed_over.discard(found)
        self._sockets.remove(found)
        found.close()


def _listening(descriptor: int) -> socket.socket:
    """The socket behind a descriptor.

    :raises NotListening: if it is no listening TCP socket.
    """
    try:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise NotListening(f"descriptor {descriptor} is no socket: {error.strerror}") from None
    if not listens or found.type != socket.SOCK_STREAM or found.family not in (socket.AF_INET, socket.AF_INET6):
        found.detach()
        raise NotListening(
            f"descriptor {descriptor} is no listening TCP socket: a socket unit has to say "
            "ListenStream=ADDRESS:PORT and Accept=no"
        )
    found.setblocking(False)
    return found


def _listens_at(found: socket.socket, interface: str, port: int) -> bool:
    """Whether who connects to this address and port comes to this socket."""
    address, number = found.getsockname()[:2]
    if number != port:
        return False
    if address == _ALL_IPV6 and interface == _ALL:
        return not found.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    return bool(address == interface)


def _stored_name(port: socket.socket) -> str:
    host, number = port.getsockname()[:2]
    return f"{_STORED}{host.replace(':', '.')}-{number}"


def _read_by_twisted(environment: MutableMapping[str, str]) -> ListenFDs:
    """What Twisted knows of the descriptors.

    The endpoints' module reads them when it is imported, leaves them to nobody else, and keeps them under private
    names. A Twisted that has no such names has left them in the environment.
    """
    kept = getattr(getattr(endpoints, "_SystemdParser", None), "_sddaemon", None)
    return kept if isinstance(kept, ListenFDs) else ListenFDs.fromEnvironment(environment)


def given_by_manager(environment: MutableMapping[str, str]) -> tuple[list[int], list[int]]:
    """The descriptors that the service manager gave to this process; no program that is started later is told of them.

    :return: the manager's own, and those that it kept of the process before.
    """
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    found = _read_by_twisted(environment).inheritedDescriptors()
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environment.pop(name, None)
    kept = [each for each, name in zip(found, names, strict=False) if name.startswith(_STORED)]
    return [each for each in found if each not in kept], kept


INHERITED: Final = Inherited()
"""Those of this process."""
