"""Where partners' connections come in: the factory to listen with.

Duty: ask for each connection whether it may come in, before any TLS work, and put Twisted's TLS between the socket and
the leg. The one place that chooses the transport; no leg and no session knows which it is.
"""

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IOpenSSLServerConnectionCreator, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from smartproxy.net.partner import PartnerLeg
from smartproxy.net.partners import PartnerSessions


@implementer(IOpenSSLServerConnectionCreator)
class _OwnGeneration:
    """Gives each connection the TLS contexts of the generation that it was accepted in."""

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        leg = protocol.wrappedProtocol
        assert isinstance(leg, PartnerLeg)
        return leg.generation.contexts.serverConnectionForTLS(protocol)


class PartnerFactory(ServerFactory):
    """Accepts partners' connections.

    :param clock: the reactor; TLS transports collect small writes with it.
    :param sessions: where connections belong to.
    """

    noisy = False

    def __init__(self, clock: IReactorTime, sessions: PartnerSessions) -> None:
        self._sessions = sessions
        self._tls = TLSMemoryBIOFactory(_OwnGeneration(), False, ServerFactory(), clock)

    def buildProtocol(self, address: IAddress | None) -> Protocol | None:
        """Make what a connection is spoken with, or nothing, which closes it at once."""
        assert address is not None
        leg = self._sessions.accept(address)
        return None if leg is None else self._tls.protocol(self._tls, leg)
