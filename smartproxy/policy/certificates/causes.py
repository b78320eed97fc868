"""What OpenSSL found wrong with a certificate path, in our words.

Duty: map the numbers of OpenSSL's ``x509_vfy.h`` to causes of refusal. The numbers are part of OpenSSL's stable
interface; nothing of OpenSSL is imported. A number that is not listed here means a refusal too.
"""

import enum
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from smartproxy.policy.certificates.facts import CertificateFacts


class RefusalCause(enum.Enum):
    """Why a certificate is refused; the value is what events and scripts see."""

    NO_CERTIFICATE = "no-certificate"
    UNKNOWN_AUTHORITY = "unknown-authority"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    REVOKED = "revoked"
    REVOCATION_MISSING = "revocation-missing"
    REVOCATION_STALE = "revocation-stale"
    BAD_SIGNATURE = "bad-signature"
    WEAK_KEY = "weak-key"
    WEAK_SIGNATURE = "weak-signature"
    WRONG_PURPOSE = "wrong-purpose"
    PATH_TOO_LONG = "path-too-long"
    NOT_AN_AUTHORITY = "not-an-authority"
    INVALID_PATH = "invalid-path"
    UNREADABLE = "unreadable"
    NO_PARTNER = "no-partner"
    PARTNER_DISABLED = "partner-disabled"
    AMBIGUOUS = "ambiguous"
    NOT_EXPECTED = "not-expected"
    WRONG_NAME = "wrong-name"
    NOT_CALLED = "not-called"


X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT: Final = 2
X509_V_ERR_UNABLE_TO_GET_CRL: Final = 3
X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE: Final = 4
X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY: Final = 6
X509_V_ERR_CERT_SIGNATURE_FAILURE: Final = 7
X509_V_ERR_CERT_NOT_YET_VALID: Final = 9
X509_V_ERR_CERT_HAS_EXPIRED: Final = 10
X509_V_ERR_CRL_NOT_YET_VALID: Final = 11
X509_V_ERR_CRL_HAS_EXPIRED: Final = 12
X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: Final = 18
X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: Final = 19
X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: Final = 20
X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: Final = 21
X509_V_ERR_CERT_CHAIN_TOO_LONG: Final = 22
X509_V_ERR_CERT_REVOKED: Final = 23
X509_V_ERR_NO_ISSUER_PUBLIC_KEY: Final = 24
X509_V_ERR_PATH_LENGTH_EXCEEDED: Final = 25
X509_V_ERR_INVALID_PURPOSE: Final = 26
X509_V_ERR_CERT_UNTRUSTED: Final = 27
X509_V_ERR_CERT_REJECTED: Final = 28
X509_V_ERR_KEYUSAGE_NO_CERTSIGN: Final = 32
X509_V_ERR_NO_EXPLICIT_POLICY: Final = 43
X509_V_ERR_HOSTNAME_MISMATCH: Final = 62
X509_V_ERR_EE_KEY_TOO_SMALL: Final = 66
X509_V_ERR_CA_KEY_TOO_SMALL: Final = 67
X509_V_ERR_CA_MD_TOO_WEAK: Final = 68
X509_V_ERR_UNSUPPORTED_SIGNATURE_ALGORITHM: Final = 76
X509_V_ERR_SIGNATURE_ALGORITHM_MISMATCH: Final = 77
X509_V_ERR_SIGNATURE_ALGORITHM_INCONSISTENCY: Final = 78
X509_V_ERR_INVALID_CA: Final = 79

_CAUSES: Final = {
    X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT: RefusalCause.UNKNOWN_AUTHORITY,
    X509_V_ERR_UNABLE_TO_GET_CRL: RefusalCause.REVOCATION_MISSING,
    X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE: RefusalCause.BAD_SIGNATURE,
    X509_V_ERR_UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY: RefusalCause.BAD_SIGNATURE,
    X509_V_ERR_CERT_SIGNATURE_FAILURE: RefusalCause.BAD_SIGNATURE,
    X509_V_ERR_CERT_NOT_YET_VALID: RefusalCause.NOT_YET_VALID,
    X509_V_ERR_CERT_HAS_EXPIRED: RefusalCause.EXPIRED,
    X509_V_ERR_CRL_NOT_YET_VALID: RefusalCause.REVOCATION_STALE,
    X509_V_ERR_CRL_HAS_EXPIRED: RefusalCause.REVOCATION_STALE,
    X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT: RefusalCause.UNKNOWN_AUTHORITY,
    X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN: RefusalCause.UNKNOWN_AUTHORITY,
    X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: RefusalCause.UNKNOWN_AUTHORITY,
    X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: RefusalCause.UNKNOWN_AUTHORITY,
    X509_V_ERR_CERT_CHAIN_TOO_LONG: RefusalCause.PATH_TOO_LONG,
    X509_V_ERR_CERT_REVOKED: RefusalCause.REVOKED,
    X509_V_ERR_NO_ISSUER_PUBLIC_KEY: RefusalCause.BAD_SIGNATURE,
    X509_V_ERR_PATH_LENGTH_EXCEEDED: RefusalCause.PATH_TOO_LONG,
    X509_V_ERR_INVALID_PURPOSE: RefusalCause.WRONG_PURPOSE,
    X509_V_ERR_CERT_UNTRUSTED: RefusalCause.UNKNOWN_AUTHORITY,
    X509_V_ERR_CERT_REJECTED: RefusalCause.UNKNOWN_AUTHORITY,
    X509_V_ERR_KEYUSAGE_NO_CERTSIGN: RefusalCause.NOT_AN_AUTHORITY,
    X509_V_ERR_EE_KEY_TOO_SMALL: RefusalCause.WEAK_KEY,
    X509_V_ERR_CA_KEY_TOO_SMALL: RefusalCause.WEAK_KEY,
    X509_V_ERR_CA_MD_TOO_WEAK: RefusalCause.WEAK_SIGNATURE,
    X509_V_ERR_UNSUPPORTED_SIGNATURE_ALGORITHM: RefusalCause.BAD_SIGNATURE,
    X509_V_ERR_SIGNATURE_ALGORITHM_MISMATCH: RefusalCause.BAD_SIGNATURE,
    X509_V_ERR_SIGNATURE_ALGORITHM_INCONSISTENCY: RefusalCause.BAD_SIGNATURE,
    X509_V_ERR_INVALID_CA: RefusalCause.NOT_AN_AUTHORITY,
}

#: After these the path does not end at an anchor.
WITHOUT_ANCHOR: Final = frozenset(
    {
        X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
        X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
        X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN,
        X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        X509_V_ERR_CERT_CHAIN_TOO_LONG,
        X509_V_ERR_CERT_UNTRUSTED,
        X509_V_ERR_CERT_REJECTED,
    }
)


def cause_of(code: int) -> RefusalCause:
    """The cause that OpenSSL's error number *code* stands for."""
    return _CAUSES.get(code, RefusalCause.INVALID_PATH)


Detail = str | int | tuple[str, ...]
"""A fact about a refusal, ready for a log."""

_MESSAGES: Final = {
    RefusalCause.NO_CERTIFICATE: "the peer showed no certificate",
    RefusalCause.UNKNOWN_AUTHORITY: "the certificate comes from no authority of this site and is not pinned",
    RefusalCause.EXPIRED: "the certificate has expired",
    RefusalCause.NOT_YET_VALID: "the certificate is not valid yet",
    RefusalCause.REVOKED: "the certificate is revoked",
    RefusalCause.REVOCATION_MISSING: "there is no revocation list of the certificate's issuer",
    RefusalCause.REVOCATION_STALE: "the revocation list of the certificate's issuer is not current",
    RefusalCause.BAD_SIGNATURE: "the certificate's signature is not its issuer's",
    RefusalCause.WEAK_KEY: "the certificate's key is too weak",
    RefusalCause.WEAK_SIGNATURE: "the certificate is signed with a hash that is too weak",
    RefusalCause.WRONG_PURPOSE: "the certificate is not meant for this use",
    RefusalCause.PATH_TOO_LONG: "the path from the certificate to its authority is too long",
    RefusalCause.NOT_AN_AUTHORITY: "the certificate may not issue others",
    RefusalCause.INVALID_PATH: "the path from the certificate to its authority is not valid",
    RefusalCause.UNREADABLE: "the certificate cannot be read",
    RefusalCause.NO_PARTNER: "the certificate is good, but it is no partner's",
    RefusalCause.PARTNER_DISABLED: "the partner of this certificate is disabled",
    RefusalCause.AMBIGUOUS: "the certificate names more than one partner",
    RefusalCause.NOT_EXPECTED: "the certificate is not one that the called partner is known by",
    RefusalCause.WRONG_NAME: "the certificate does not bear the name of the host that was called",
    RefusalCause.NOT_CALLED: "the partner's entry does not allow calls",
}

_ADVICE: Final = {
    RefusalCause.NO_CERTIFICATE: "The partner has to configure a client certificate for outgoing connections.",
    RefusalCause.UNKNOWN_AUTHORITY: (
        "If the partner is to use this certificate, pin it in his entry or add the authority that issued it; if he sent"
        " no intermediate certificates, he has to send them."
    ),
    RefusalCause.EXPIRED: (
        "Whose certificate it is has to renew it. A new certificate of a pinned partner has to be added to his entry."
    ),
    RefusalCause.NOT_YET_VALID: (
        "Check the clock of this host; if it is right, the partner has to use his present certificate."
    ),
    RefusalCause.REVOKED: "Ask the partner why, by another way than this one; he needs a new certificate.",
    RefusalCause.REVOCATION_MISSING: (
        "Load the issuer's current revocation list in the backend, or set the authority's revocation to `prefer`."
    ),
    RefusalCause.REVOCATION_STALE: (
        "Load the issuer's current revocation list in the backend, give the authority hours of grace, or set its"
        " revocation to `prefer`."
    ),
    RefusalCause.BAD_SIGNATURE: "The certificate is damaged or forged. The partner has to check what he sends.",
    RefusalCause.WEAK_KEY: "The certificate's owner has to make a longer key: RSA from 2048 bits, EC from 256 bits.",
    RefusalCause.WEAK_SIGNATURE: "The certificate has to be issued again, signed with SHA-256 or better.",
    RefusalCause.WRONG_PURPOSE: (
        "The partner needs a certificate with extended key usage clientAuth; if he cannot get one, set the purpose in"
        " his entry to `server_auth`, or pin the certificate and set it to `any`."
    ),
    RefusalCause.PATH_TOO_LONG: "Add the lowest of the intermediate authorities as an authority of its own.",
    RefusalCause.NOT_AN_AUTHORITY: "The partner has to send the certificates of the authorities that issued his.",
    RefusalCause.INVALID_PATH: (
        "See what OpenSSL says; the certificate or one of its authorities has to be issued again."
    ),
    RefusalCause.UNREADABLE: "The certificate breaks the rules of X.509; the partner needs another one.",
    RefusalCause.NO_PARTNER: "If it is a partner's, add a rule to his entry that this certificate fits.",
    RefusalCause.PARTNER_DISABLED: "Enable the partner's entry if he is to connect again.",
    RefusalCause.AMBIGUOUS: "Change the certificate rules of these partners so that only one of them fits.",
    RefusalCause.NOT_EXPECTED: (
        "Ask the partner, by another way than this one, whether it is his; if so, add it to his outbound entry."
    ),
    RefusalCause.WRONG_NAME: (
        "Check the host in the partner's outbound entry; if his certificate bears another name, give that name there,"
        " or pin the certificate."
    ),
    RefusalCause.NOT_CALLED: "Give the partner's entry an outbound part if he is to be called again.",
}


@attrs.define(kw_only=True, eq=False, auto_exc=True, str=False)
class CertificateRefusal(Exception):
    """A peer's certificate does not prove that it is a partner.

    :ivar cause: what is wrong.
    :ivar depth: which certificate of the path it is about: 0 is the peer's own.
    :ivar subject: that certificate's subject; empty if there is none.
    :ivar issuer: that certificate's issuer; empty if there is none.
    :ivar detail: what was compared, by name: dates (ISO 8601, UTC), ages (seconds), pins, key sizes.
    """

    cause: RefusalCause
    depth: int = 0
    subject: str = ""
    issuer: str = ""
    detail: Mapping[str, Detail] = attrs.field(factory=dict)

    @property
    def message(self) -> str:
        """What is wrong, in one sentence without a full stop."""
        if self.depth:
            return f"{_MESSAGES[self.cause]} (certificate {self.depth} of the path)"
        return _MESSAGES[self.cause]

    @property
    def advice(self) -> str:
        """What to do about it."""
        return _ADVICE[self.cause]

    def __str__(self) -> str:
        return f"{self.message} [certificate.{self.cause.value}]"


def refusal(
    cause: RefusalCause, certificate: "CertificateFacts", depth: int = 0, /, **detail: Detail
) -> CertificateRefusal:
    """The refusal of *certificate*, with what always helps to find it."""
    return CertificateRefusal(
        cause=cause,
        depth=depth,
        subject=certificate.subject,
        issuer=certificate.issuer,
        detail={"serial": f"{certificate.serial:x}", "certificate_sha256": certificate.sha256, **detail},
    )
