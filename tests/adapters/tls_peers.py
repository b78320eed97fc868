"""TLS clients that call a server in memory, with any certificate, and note the alerts that they are sent."""

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto

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
