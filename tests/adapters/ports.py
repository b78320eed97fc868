"""A reactor that keeps time and a list of ports, and opens nothing."""

import errno
import os
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock


class Port:
    """One open port."""

    def __init__(self, reactor: "PortsReactor", interface: str, number: int, factory: IProtocolFactory) -> None:
        self.interface = interface
        self.number = number
        self.factory = factory
        self._reactor = reactor

    def getHost(self) -> IPv4Address | IPv6Address:
        """Where it listens."""
        kind = IPv6Address if ":" in self.interface else IPv4Address
        return kind("TCP", self.interface or "0.0.0.0", self.number)

    def stopListening(self) -> Deferred[None]:
        """Close it, a turn later."""

        def closed() -> None:
            self._reactor.ports.remove(self)
            done.callback(None)

        done: Deferred[None] = Deferred()
        self._reactor.callLater(0, closed)
        return done


class PortsReactor(Clock):
    """Listens in memory: a port closes a turn after it is asked to, as real ones do, and is one on all addresses.

    :ivar ports: the open ones.
    :ivar taken: port numbers that other programs have.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ports: list[Port] = []
        self.taken: set[int] = set()
        self._free = 50_000

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """Open a port; 0 is a free one."""
        if port in self.taken or port in self.numbers:
            raise CannotListenError(interface, port, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
        if port == 0:
            self._free += 1
            port = self._free
        opened = Port(self, interface, port, factory)
        self.ports.append(opened)
        return opened

    @property
    def numbers(self) -> list[int]:
        """The numbers of the open ports."""
        return sorted(port.number for port in self.ports)
