"""A certificate's facts, as policy wants to have them.

Duty: read a certificate that TLS delivered into :class:`~smartproxy.policy.certificates.facts.CertificateFacts`. Trusts
nothing in it: OpenSSL lets pass what cryptography cannot read. A certificate whose names and dates cannot be read is
refused for that, an extension that cannot be read allows nothing and names nobody, and a name of another kind than
policy knows is skipped. Judges nothing else: what its octets say is kept for the next connection that shows it, and not
what that is worth. Standards: RFC 5280 sections 4.1 and 4.2; X.520 serialNumber, where Odette's CAs put the
Odette ID.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeVar

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from smartproxy.net.tls.der import extensions_alone
from smartproxy.net.tls.names import issuer_text, point_names, subject_text
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.causes import CertificateRefusal, refusal
from smartproxy.policy.certificates.decoding import (
    Undecodable,
    decoding,
    extensions,
    key_octets,
    public_key,
    signature_hash,
    subject_values,
)
from smartproxy.policy.certificates.facts import CertificateFacts
from smartproxy.policy.certificates.judge import EXTENDED_KEY_USAGE, KEY_KINDS
from smartproxy.policy.values import sha256

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

_CURVES: Final[dict[type[ec.EllipticCurve], int]] = {
    ec.SECP256R1: 80,
    ec.SECP384R1: 400,
    ec.SECP521R1: 800,
    ec.SECP256K1: 350,
    ec.BrainpoolP256R1: 350,
    ec.BrainpoolP384R1: 650,
    ec.BrainpoolP512R1: 1200,
}
"""The curves on which a signature is checked, and about how many microseconds that takes."""

_RSA_MICROSECONDS: Final = 900
"""What a signature takes to be checked with the largest key: the modulus counts squared, the exponent's length once."""

_EDWARDS_MICROSECONDS: Final = 300

_NAMED: Final = {
    x509.BasicConstraints.oid.dotted_string: "basicConstraints",
    x509.ExtendedKeyUsage.oid.dotted_string: EXTENDED_KEY_USAGE,
    x509.SubjectAlternativeName.oid.dotted_string: "subjectAltName",
    x509.CRLDistributionPoints.oid.dotted_string: "cRLDistributionPoints",
    x509.KeyUsage.oid.dotted_string: "keyUsage",
    x509.CertificatePolicies.oid.dotted_string: "certificatePolicies",
    x509.AuthorityInformationAccess.oid.dotted_string: "authorityInfoAccess",
    x509.AuthorityKeyIdentifier.oid.dotted_string: "authorityKeyIdentifier",
    x509.SubjectKeyIdentifier.oid.dotted_string: "subjectKeyIdentifier",
    x509.NameConstraints.oid.dotted_string: "nameConstraints",
}
"""The names of extensions; others are told by their numbers."""

_SAN_KINDS: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "DNS",
    x509.UniformResourceIdentifier: "URI",
    x509.RFC822Name: "EMAIL",
}


@lru_cache(limits.CERTIFICATES_READ_MOST)
def certificate_facts(certificate: x509.Certificate, issuer: x509.Certificate | None = None) -> CertificateFacts:
    """Read a certificate.

    :param issuer: the certificate above it in the path, if there is one.
    :raises Undecodable: if not even its names and dates can be read.
    """
    with decoding():
        return _facts(certificate, issuer)


def _facts(certificate: x509.Certificate, issuer: x509.Certificate | None) -> CertificateFacts:
    key_type, key_bits = _key(certificate)
    found = _Extensions.of(certificate)
    constraints = found.get(x509.BasicConstraints)
    return CertificateFacts(
        subject=subject_text(certificate),
        issuer=issuer_text(certificate),
        serial=certificate.serial_number,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        sha256=sha256(certificate.public_bytes(serialization.Encoding.DER)),
        key_sha256=key_sha256(certificate),
        issuer_key_sha256=None if issuer is None else key_sha256(issuer),
        key_type=key_type,
        key_bits=key_bits,
        signature_hash=_signature_hash(certificate),
        extended_key_usage=_extended_key_usage(found),
        subject_serial_number=serial_number_of_subject(certificate),
        sans=_sans(found),
        is_ca=constraints is not None and constraints.ca,
        crl_urls=_crl_urls(found),
        crl_points=_crl_points(found, issuer_text(certificate)),
        unreadable=found.unreadable,
    )


def path_facts(path: list[x509.Certificate]) -> tuple[CertificateFacts, ...]:
    """Read the certificates of a path, leaf first; each but the last one is issued by the next one.

    :raises CertificateRefusal: if one of them cannot be read.
    """
    issuers = [*path[1:], None]
    facts = []
    for depth, (certificate, issuer) in enumerate(zip(path, issuers, strict=True)):
        try:
            facts.append(certificate_facts(certificate, issuer))
        except Undecodable as error:
            raise _unreadable(depth, error) from None
    return tuple(facts)


def check_cost(certificate: x509.Certificate, depth: int) -> int:
    """Refuse a certificate whose key makes checking a signature expensive, before one is checked with it.

    Keys that are merely too weak are cheap, and left to policy.

    :param depth: its place in the path.
    :return: about how many microseconds a check takes.
    :raises CertificateRefusal: if the key is larger than any that is in use, of a kind or on a curve that is not
        accepted, or cannot be read at all.
    """
    cost = _cost(certificate)
    if isinstance(cost, str):
        raise _expensive(certificate, depth, cost)
    return cost


@lru_cache(limits.CERTIFICATES_READ_MOST)
def _cost(certificate: x509.Certificate) -> int | str:
    """About how many microseconds a check with this certificate's key takes; else what is needed instead of the key."""
    try:
        key = public_key(certificate)
    except Undecodable:
        return "a key that can be read"
    match key:
        case rsa.RSAPublicKey():
            exponent = key.public_numbers().e.bit_length()
            if key.key_size <= limits.RSA_BITS_MOST and exponent <= limits.RSA_EXPONENT_BITS_MOST:
                share = (key.key_size / limits.RSA_BITS_MOST) ** 2 * exponent / limits.RSA_EXPONENT_BITS_MOST
                return round(_RSA_MICROSECONDS * share)
            return f"RSA to {limits.RSA_BITS_MOST} bits, its exponent to {limits.RSA_EXPONENT_BITS_MOST} bits"
        case ec.EllipticCurvePublicKey():
            if key.key_size < limits.EC_BITS_LEAST:
                return _CURVES[ec.SECP521R1]
            if type(key.curve) in _CURVES:
                return _CURVES[type(key.curve)]
            return f"one of the curves {', '.join(curve.__name__.lower() for curve in _CURVES)}"
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            return _EDWARDS_MICROSECONDS
    return KEY_KINDS


def check_costs(path: list[x509.Certificate]) -> None:
    """Refuse a path that nobody vouches for and that takes too long to check.

    OpenSSL checks the signatures above a pinned certificate too, although they prove nothing: whoever has seen that
    certificate can show it with any others above it.

    :raises CertificateRefusal: for the certificate that makes it too much, or one of :func:`check_cost`.
    """
    sum_of = 0
    for depth, certificate in enumerate(path[1:], 1):
        sum_of += check_cost(certificate, depth)
        if sum_of > limits.UNVOUCHED_PATH_MICROSECONDS:
            raise _expensive(certificate, depth, "fewer certificates above the pinned one, or smaller keys")


def _expensive(certificate: x509.Certificate, depth: int, needed: str) -> CertificateRefusal:
    try:
        facts = certificate_facts(certificate)
    except Undecodable as error:
        return _unreadable(depth, error)
    return refusal(
        Cause.CERTIFICATE_EXPENSIVE_KEY,
        facts,
        depth,
        key_type=facts.key_type,
        key_bits=facts.key_bits,
        needed=needed,
    )


def certificate_of(shown: crypto.X509, depth: int) -> x509.Certificate:
    """The certificate that OpenSSL shows, for cryptography to read.

    :param depth: its place in the path.
    :raises CertificateRefusal: if it cannot be read.
    """
    try:
        with decoding():
            return shown.to_cryptography()
    except Undecodable as error:
        raise _unreadable(depth, error) from None


def _unreadable(depth: int, error: Undecodable) -> CertificateRefusal:
    return CertificateRefusal(cause=Cause.CERTIFICATE_UNREADABLE, depth=depth, detail={"error": error.kind})


@attrs.frozen
class _Extensions:
    """The extensions of a certificate, each read by itself where they cannot be read all together.

    :ivar found: those that can be read.
    :ivar unreadable: the names of those that cannot.
    """

    found: Mapping[type[x509.ExtensionType], x509.ExtensionType]
    unreadable: tuple[str, ...] = ()

    @classmethod
    def of(cls, certificate: x509.Certificate) -> "_Extensions":
        try:
            return cls({type(each.value): each.value for each in extensions(certificate)})
        except Undecodable:
            pass
        found: dict[type[x509.ExtensionType], x509.ExtensionType] = {}
        unreadable: dict[str, None] = {}
        seen: set[str] = set()
        try:
            for number, alone in extensions_alone(certificate):
                twice = number in seen
                seen.add(number)
                try:
                    (extension,) = extensions(alone)
                except Undecodable:
                    unreadable[_NAMED.get(number, number)] = None
                    continue
                if twice:
                    # Two contradict each other.
                    unreadable[_NAMED.get(number, number)] = None
                    found.pop(type(extension.value), None)
                else:
                    found[type(extension.value)] = extension.value
        except ValueError:
            return cls({}, tuple(_NAMED.values()))
        return cls(found, tuple(unreadable))

    def get(self, kind: type[_Extension]) -> _Extension | None:
        """The extension of a kind; ``None`` if there is none that can be read."""
        value = self.found.get(kind)
        return value if isinstance(value, kind) else None


def _extended_key_usage(found: _Extensions) -> frozenset[str] | None:
    """The purposes; none at all if they cannot be read, which is not the same as having no such extension."""
    purposes = found.get(x509.ExtendedKeyUsage)
    if purposes is not None:
        return frozenset(purpose.dotted_string for purpose in purposes)
    return frozenset() if EXTENDED_KEY_USAGE in found.unreadable else None


def _key(certificate: x509.Certificate) -> tuple[str, int]:
    try:
        key = public_key(certificate)
    except Undecodable:
        return "unknown", 0
    match key:
        case rsa.RSAPublicKey():
            return "RSA", key.key_size
        case ec.EllipticCurvePublicKey():
            return "EC", key.key_size
        case ed25519.Ed25519PublicKey():
            return "Ed25519", 256
        case ed448.Ed448PublicKey():
            return "Ed448", 456
    return type(key).__name__.removesuffix("PublicKey"), 0


def may_sign_lists(certificate: x509.Certificate) -> bool:
    """Whether a certificate is for signing revocation lists (RFC 5280 section 6.3.3, step f)."""
    found = _Extensions.of(certificate)
    usage = found.get(x509.KeyUsage)
    return _NAMED[x509.KeyUsage.oid.dotted_string] not in found.unreadable if usage is None else usage.crl_sign


def signs_certificates(certificate: x509.Certificate) -> bool:
    """Whether a certificate says of its key that it signs certificates (RFC 5280 section 4.2.1.3)."""
    usage = _Extensions.of(certificate).get(x509.KeyUsage)
    return usage is not None and usage.key_cert_sign


def key_sha256(certificate: x509.Certificate) -> str:
    """The SHA-256 of the key's SubjectPublicKeyInfo; empty if the key cannot be read.

    One key has one, however a certificate writes it: of a compressed point, named parameters in full, or RSA with an
    algorithm of its own, the octets in the certificate are others.
    """
    try:
        return sha256(key_octets(certificate))
    except Undecodable:
        return ""


def _signature_hash(certificate: x509.Certificate) -> str | None:
    try:
        algorithm = signature_hash(certificate)
    except Undecodable:
        return "unknown"
    return None if algorithm is None else algorithm.name


def serial_number_of_subject(certificate: x509.Certificate) -> str | None:
    """The subject's serialNumber, if it has exactly one: two contradict each other."""
    try:
        values = subject_values(certificate, NameOID.SERIAL_NUMBER)
    except Undecodable:
        # cryptography reads no attribute of a name that it cannot read as a whole.
        return None
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


def _sans(found: _Extensions) -> tuple[str, ...]:
    names = found.get(x509.SubjectAlternativeName)
    if names is None:
        return ()
    return tuple(f"{_SAN_KINDS[type(name)]}:{name.value}" for name in names if type(name) in _SAN_KINDS)


def _crl_urls(found: _Extensions) -> tuple[str, ...]:
    points = found.get(x509.CRLDistributionPoints)
    if points is None:
        return ()
    return tuple(
        name.value
        for point in points
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    )


def _crl_points(found: _Extensions, issuer: str) -> tuple[str, ...]:
    """The names of the distribution points where the issuer's own lists for all reasons are."""
    return tuple(
        dict.fromkeys(
            name
            for point in found.get(x509.CRLDistributionPoints) or ()
            if point.reasons is None and point.crl_issuer is None
            for name in point_names(point.full_name, point.relative_name, issuer)
        )
    )
