"""TLS in memory: clients that call a server with any certificate and note its alerts, and a server that is called."""

from typing import Any, cast

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure

from smartproxy.net.tls.verdict import ALERTS
from smartproxy.policy import values as pem
from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.testing.pki import PrivateKey, TestCredential
from smartproxy.testing.tls import TlsVersion
from tests.adapters.rig import Caller, CallerTls, ServerRig, tls12, tls13


@attrs.frozen
class Forged:
    """A certificate that cryptography need not be able to read, with a key and intermediates.

    :ivar octets: its DER octets.
    """

    key: PrivateKey
    octets: bytes
    intermediates: tuple[x509.Certificate | crypto.X509, ...] = ()

    @classmethod
    def of(cls, credential: TestCredential, old: bytes, new: bytes) -> "Forged":
        """A credential whose certificate has *new* wherever it had *old*."""
        octets = credential.certificate.public_bytes(serialization.Encoding.DER)
        assert old in octets
        return cls(credential.key, octets.replace(old, new), credential.intermediates)

    @property
    def certificate(self) -> crypto.X509:
        """The certificate as OpenSSL takes it."""
        return crypto.load_certificate(crypto.FILETYPE_ASN1, self.octets)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the certificate in hex."""
        return pem.sha256(self.octets)


Shown = TestCredential | Forged
"""What a client may show."""


@attrs.frozen
class Call:
    """One connection of a client to a server.

    :ivar rig: the server's partner side.
    :ivar caller: the client.
    :ivar alerts: the alerts that the client was sent, but for the ordinary end of TLS.
    """

    rig: ServerRig
    caller: Caller
    alerts: list[str]

    @property
    def points(self) -> list[float]:
        """The penalty points of each address."""
        return [record.points for record in self.rig.gate.penalties._records.values()]


def call(configuration: ServerConfiguration, shown: Shown | None, version: TlsVersion) -> Call:
    """Let a client connect to a new server, and both talk until neither has anything to say.

    :param configuration: what the server is told; the rig gives it an identity.
    :param shown: the client's certificate, chain and key; none is shown without it.
    """
    alerts: list[str] = []

    def note(_connection: SSL.Connection, where: int, value: int) -> None:
        if where & SSL.SSL_CB_ALERT and where & SSL.SSL_CB_READ and value & 0xFF:
            alerts.append(ALERTS[value & 0xFF])

    def adjust(context: SSL.Context) -> None:
        (tls12 if version is TlsVersion.TLS_1_2 else tls13)(context)
        context.set_info_callback(note)
        if shown is not None:
            context.use_certificate(shown.certificate)
            context.use_privatekey(shown.key)
            for certificate in shown.intermediates:
                context.add_extra_chain_cert(certificate)

    told = attrs.asdict(configuration, recurse=False, filter=lambda field, _: field.name != "identities")
    rig = ServerRig(**told)
    caller, _ = rig.call(CallerTls(None, adjust))
    return Call(rig, caller, alerts)


class _Judged:
    """The TLS protocol of a client, as Twisted's name check sees it."""

    factory = WrappingFactory(Factory())
    refused = False

    def failVerification(self, failure: Failure) -> None:
        """Part of ``TLSMemoryBIOProtocol``: the name does not fit, and the connection would be aborted."""
        self.refused = True


def _handshake(client: SSL.Connection, server: SSL.Connection) -> bool:
    """Let two ends in memory shake hands; whether both finish."""
    waiting = [client, server]
    for _ in range(10):
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
            except SSL.WantReadError:
                pass
            except Exception:
                return False
            else:
                waiting = [each for each in waiting if each is not end]
            while True:
                try:
                    other.bio_write(end.bio_read(65536))
                except SSL.WantReadError:
                    break
    return not waiting


def is_proven(creator: IOpenSSLClientConnectionCreator, shown: Shown) -> bool:
    """Whether a client that makes its connections so speaks to a server that shows this certificate."""
    judged: Any = _Judged()
    client = creator.clientConnectionForTLS(judged)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(shown.certificate)
    context.use_privatekey(cast(Any, shown.key))
    server = SSL.Connection(context, None)
    client.set_connect_state()
    server.set_accept_state()
    return _handshake(client, server) and not judged.refused
