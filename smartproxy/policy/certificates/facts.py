"""The facts of certificates, and OpenSSL's findings about the chain that a peer presented.

Duty: the classes that the TLS side fills in and policy reads. Judges nothing, and parses no certificate.

RFC 5280 section 4; RFC 4514 (names as text).
"""

import datetime
from collections.abc import Mapping

import attrs

from smartproxy.policy.partners import TrustedCa


@attrs.frozen(kw_only=True)
class CertificateFacts:
    """The content of a certificate, as far as policy needs it.

    :ivar subject: its subject's name, as RFC 4514 writes it.
    :ivar issuer: its issuer's name.
    :ivar serial: its serial number.
    :ivar not_before: the start of its validity.
    :ivar not_after: the end of its validity.
    :ivar sha256: SHA-256 of its DER octets, in hex.
    :ivar key_sha256: SHA-256 of its SubjectPublicKeyInfo, in hex.
    :ivar issuer_key_sha256: the same for its issuer's key, where that is known.
    :ivar key_type: ``RSA``, ``EC``, ``Ed25519``, ``Ed448``, or another name.
    :ivar key_bits: the length of the key.
    :ivar signature_hash: the hash of its signature, such as ``sha256``; ``None`` if the algorithm has none.
    :ivar extended_key_usage: the dotted numbers of that extension, ``None`` without it.
    :ivar subject_serial_number: the attribute serialNumber of its subject.
    :ivar sans: its subject alternative names, with ``DNS:``, ``URI:`` or ``EMAIL:`` in front.
    :ivar is_ca: whether it is a CA certificate.
    :ivar crl_urls: the addresses of its issuer's revocation lists that it names.
    :ivar crl_points: the names of the distribution points of these lists, as the lists name them, with ``URI:`` or
        ``DIR:`` in front.
    :ivar unreadable: the extensions that cannot be read, by name.
    """

    subject: str
    issuer: str
    serial: int
    not_before: datetime.datetime
    not_after: datetime.datetime
    sha256: str
    key_sha256: str
    issuer_key_sha256: str | None = None
    key_type: str
    key_bits: int
    signature_hash: str | None
    extended_key_usage: frozenset[str] | None = None
    subject_serial_number: str | None = None
    sans: tuple[str, ...] = ()
    is_ca: bool = False
    crl_urls: tuple[str, ...] = ()
    crl_points: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()


@attrs.frozen
class PathError:
    """One of OpenSSL's findings.

    :ivar code: its number, ``X509_V_ERR_...``.
    :ivar depth: the depth of the certificate in the path; 0 is the peer's own.
    :ivar text: OpenSSL's message.
    """

    code: int
    depth: int
    text: str


@attrs.frozen(kw_only=True)
class ChainFacts:
    """The chain that a peer presented, with OpenSSL's findings.

    :ivar presented: the certificates of the handshake, the peer's own first.
    :ivar path: the path from the peer's certificate to an anchor, if OpenSSL found one.
    :ivar path_errors: all findings of OpenSSL.
    :ivar twins: for certificates of the path, by their SHA-256, other trusted ones with the same name and key. OpenSSL
        ends the path at one of them, and each of them would do.
    """

    presented: tuple[CertificateFacts, ...]
    path: tuple[CertificateFacts, ...] = ()
    path_errors: tuple[PathError, ...] = ()
    twins: Mapping[str, tuple[CertificateFacts, ...]] = attrs.field(factory=dict, eq=False)

    def reaching(self, ca: TrustedCa) -> "tuple[ChainFacts, int] | None":
        """The chain with the path that reaches a CA, and the depth of the CA's certificate in it.

        Where the CA's certificate is a twin of the one at which OpenSSL ended the path, it takes the place of that one,
        and what OpenSSL found there counts no more: its own dates and key do.

        :return: ``None`` if the path does not reach the CA.
        """
        for depth, facts in enumerate(self.path):
            if facts.sha256 in ca.anchors:
                return self, depth
            for twin in self.twins.get(facts.sha256, ()):
                if twin.sha256 in ca.anchors:
                    errors = tuple(error for error in self.path_errors if error.depth < depth)
                    return attrs.evolve(self, path=(*self.path[:depth], twin), path_errors=errors), depth
        return None

    def below(self, ca: TrustedCa) -> tuple[CertificateFacts, ...] | None:
        """The part of the path below a CA: up to the first certificate of the CA, that one excluded.

        :return: ``None`` if the path does not reach the CA.
        """
        found = self.reaching(ca)
        return None if found is None else self.path[: found[1]]
