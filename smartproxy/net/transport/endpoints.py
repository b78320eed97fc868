"""What Twisted's endpoints do not tell: that they were given up, and whether they still look for the name.

An endpoint that is cancelled says ``ConnectingCancelledError`` while it waits for TCP, and ``DNSLookupError`` while it
waits for the resolver: who gives up must not take that for a fault of the other side. A timeout that ends the look-up
of a name is one of the name, not of the host behind it. Trusts the endpoint to fail once it is cancelled.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

_T = TypeVar("_T")


def connect(endpoint: IStreamClientEndpoint, factory: IProtocolFactory) -> Deferred[Any]:
    """Connect; cancelling it fails it with :class:`CancelledError`, at whatever it waits for."""
    return cancelling(endpoint.connect(factory))


def cancelling(inner: Deferred[_T]) -> Deferred[_T]:
    """The result of a Deferred, and :class:`CancelledError` in place of the failure with which it answers a cancel."""
    given_up = False

    def cancel(outer: Deferred[_T]) -> None:
        nonlocal given_up
        given_up = True
        inner.cancel()

    outer: Deferred[_T] = Deferred(cancel)

    def settle(result: Any) -> None:
        outer.callback(Failure(CancelledError()) if given_up and isinstance(result, Failure) else result)

    inner.addBoth(settle)
    return outer


class FamilyMissing(DNSLookupError):
    """A host is not known, or has no address of the family of the address that it is called from."""


@implementer(IStreamClientEndpoint)
class SourcedEndpoint:
    """A host that is called from an address of this machine: only addresses of the same family are tried.

    :param source: the address.
    """

    def __init__(self, reactor: Any, host: str, port: int, timeout: float = 30, *, source: str) -> None:
        family = IPv6Address if ":" in source else IPv4Address
        self._endpoint = HostnameEndpoint(Lookup(reactor, family), host, port, timeout, (source, 0))

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Connect.

        It fails with :class:`FamilyMissing` where there is no address to try.
        """
        connecting: Deferred[Any] = self._endpoint.connect(protocolFactory)

        def explain(failure: Failure) -> Failure:
            failure.trap(DNSLookupError)
            return Failure(FamilyMissing())

        return connecting.addErrback(explain)


class Lookup:
    """A reactor as an endpoint sees it, which notes whether the host's name was found.

    :param reactor: is asked.
    :param family: the only addresses that are wanted; ``None`` for all.
    :ivar over: whether nobody waits for the name any more.
    """

    def __init__(self, reactor: Any, family: type[IAddress] | None = None) -> None:
        self._reactor = reactor
        self.over = True
        directlyProvides(self, providedBy(reactor))
        if IReactorPluggableNameResolver.providedBy(reactor):
            self.nameResolver = _Resolver(reactor.nameResolver, family, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def late(self, host: str, seconds: float) -> None:
        """Say so if the time was over while the name was looked for.

        :raises DNSLookupError: if it was.
        """
        if not self.over:
            raise DNSLookupError(f"the host name {host} was not resolved within {seconds:g} s")


@implementer(IHostnameResolver)
class _Resolver:
    def __init__(self, resolver: IHostnameResolver, family: type[IAddress] | None, lookup: Lookup) -> None:
        self._resolver = resolver
        self._family = family
        self._lookup = lookup

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Part of ``IHostnameResolver``."""
        self._lookup.over = False
        wanted = addressTypes if self._family is None else (self._family,)
        noting = _Noting(resolutionReceiver, self._lookup)
        return self._resolver.resolveHostName(noting, hostName, portNumber, wanted, transportSemantics)


@implementer(IResolutionReceiver)
class _Noting:
    def __init__(self, receiver: IResolutionReceiver, lookup: Lookup) -> None:
        self._receiver = receiver
        self._lookup = lookup

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Part of ``IResolutionReceiver``."""
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        """Part of ``IResolutionReceiver``."""
        self._receiver.addressResolved(address)

    def resolutionComplete(self) -> None:
        """Part of ``IResolutionReceiver``."""
        self._lookup.over = True
        self._receiver.resolutionComplete()
