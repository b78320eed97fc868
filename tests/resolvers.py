"""A resolver that answers when a test wants it to."""

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver, IReactorPluggableNameResolver
from zope.interface import alsoProvides, implementer


@implementer(IHostnameResolver)
class SlowResolver:
    """Answers when it is told to.

    :ivar receivers: who asked.
    """

    def __init__(self) -> None:
        self.receivers: list[Any] = []

    def resolveHostName(self, receiver: Any, hostName: str, *arguments: object) -> Any:
        """Part of the interface."""
        self.receivers.append(receiver)
        receiver.resolutionBegan(None)

    def answer(self, *hosts: str) -> None:
        """Find these addresses."""
        receiver = self.receivers.pop()
        for host in hosts:
            receiver.addressResolved(IPv4Address("TCP", host, 6619))
        receiver.resolutionComplete()


def slow_names(reactor: Any) -> SlowResolver:
    """Let a reactor in memory look names up with one."""
    resolver = vars(reactor)["nameResolver"] = SlowResolver()
    alsoProvides(reactor, IReactorPluggableNameResolver)
    return resolver
