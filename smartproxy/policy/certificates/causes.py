"""Why certificates are refused: one row for each cause, and the refusal that carries it.

Duty: say of each cause which of OpenSSL's findings mean it, which TLS alert the peer gets, what this site's operator
reads and can do, and what the partner is told. A new cause needs a member of :class:`~smartproxy.policy.causes.Cause`
and a row here. The numbers are those of OpenSSL's ``x509_vfy.h``, which are part of its stable interface; nothing of
OpenSSL is imported. Names and dates in a refusal come from a certificate that nobody has vouched for: whoever shows
them escapes them.

RFC 5280 section 6; RFC 8446 section 6.2 (alerts).
"""

import enum
from collections.abc import Mapping
from typing import Final

import attrs

from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.facts import CertificateFacts


class VerifyError(enum.IntEnum):
    """What OpenSSL finds wrong with a path: ``X509_V_ERR_`` and the member's name in ``x509_vfy.h``."""

    UNABLE_TO_GET_ISSUER_CERT = 2
    UNABLE_TO_GET_CRL = 3
    UNABLE_TO_DECRYPT_CERT_SIGNATURE = 4
    UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY = 6
    CERT_SIGNATURE_FAILURE = 7
    CERT_NOT_YET_VALID = 9
    CERT_HAS_EXPIRED = 10
    CRL_NOT_YET_VALID = 11
    CRL_HAS_EXPIRED = 12
    DEPTH_ZERO_SELF_SIGNED_CERT = 18
    SELF_SIGNED_CERT_IN_CHAIN = 19
    UNABLE_TO_GET_ISSUER_CERT_LOCALLY = 20
    UNABLE_TO_VERIFY_LEAF_SIGNATURE = 21
    CERT_CHAIN_TOO_LONG = 22
    CERT_REVOKED = 23
    NO_ISSUER_PUBLIC_KEY = 24
    PATH_LENGTH_EXCEEDED = 25
    INVALID_PURPOSE = 26
    CERT_UNTRUSTED = 27
    CERT_REJECTED = 28
    KEYUSAGE_NO_CERTSIGN = 32
    NO_EXPLICIT_POLICY = 43
    HOSTNAME_MISMATCH = 62
    EE_KEY_TOO_SMALL = 66
    CA_KEY_TOO_SMALL = 67
    CA_MD_TOO_WEAK = 68
    UNSUPPORTED_SIGNATURE_ALGORITHM = 76
    SIGNATURE_ALGORITHM_MISMATCH = 77
    SIGNATURE_ALGORITHM_INCONSISTENCY = 78
    INVALID_CA = 79


#: After these the path does not end at an anchor.
WITHOUT_ANCHOR: Final = frozenset(
    {
        VerifyError.UNABLE_TO_GET_ISSUER_CERT,
        VerifyError.DEPTH_ZERO_SELF_SIGNED_CERT,
        VerifyError.SELF_SIGNED_CERT_IN_CHAIN,
        VerifyError.UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        VerifyError.UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        VerifyError.CERT_CHAIN_TOO_LONG,
        VerifyError.CERT_UNTRUSTED,
        VerifyError.CERT_REJECTED,
    }
)


#: Here it is this site that lacks something; the peer may have done nothing wrong.
OF_THIS_SITE: Final = frozenset({Cause.CERTIFICATE_REVOCATION_MISSING, Cause.CERTIFICATE_REVOCATION_STALE})


@attrs.frozen
class Explanation:
    """What a partner is told: true for whoever reads it, and nothing of this site's inside.

    :ivar happened: what happened, as a sentence to the partner.
    :ivar remedy: what the partner has to do, or can expect.
    """

    happened: str
    remedy: str


@attrs.frozen(kw_only=True)
class CertificateCause:
    """A row of the table.

    :ivar cause: the code.
    :ivar message: what is wrong, for this site's log: a sentence without a full stop.
    :ivar advice: what this site's operator can do.
    :ivar explanation: what the partner is told.
    :ivar errors: OpenSSL's findings that mean it.
    :ivar tells: the finding after which OpenSSL words the alert that the peer gets.
    :ivar alert: the name of that alert, in TLS 1.3.
    """

    cause: Cause
    message: str
    advice: str
    explanation: Explanation
    errors: tuple[VerifyError, ...] = ()
    tells: VerifyError = VerifyError.NO_EXPLICIT_POLICY
    alert: str = "certificate_unknown"


OURS: Final = "The cause is on our side. Your settings need no change; please try again later."
"""What a partner is told to do about what is our affair."""

_ROWS: Final = (
    CertificateCause(
        cause=Cause.CERTIFICATE_MISSING,
        message="the peer showed no certificate",
        advice="The partner has to configure a client certificate for outgoing connections.",
        explanation=Explanation(
            "Your system did not present a TLS client certificate.",
            "Please configure your certificate and its private key for outgoing OFTP2 connections to us.",
        ),
        alert="certificate_required",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_UNKNOWN_CA,
        message="the certificate comes from no CA of this site and is not pinned",
        advice="If the partner is to use this certificate, pin it in the partner's entry or add the CA that issued it."
        " If the partner sent no intermediate certificates, it has to send them.",
        explanation=Explanation(
            "We know neither your certificate nor the authority that issued it.",
            "Please send the intermediate certificates along with yours in the TLS handshake; if you do, send us the"
            " public part of your certificate and tell us who issued it.",
        ),
        errors=(
            VerifyError.UNABLE_TO_GET_ISSUER_CERT,
            VerifyError.DEPTH_ZERO_SELF_SIGNED_CERT,
            VerifyError.SELF_SIGNED_CERT_IN_CHAIN,
            VerifyError.UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            VerifyError.UNABLE_TO_VERIFY_LEAF_SIGNATURE,
            VerifyError.CERT_UNTRUSTED,
            VerifyError.CERT_REJECTED,
        ),
        tells=VerifyError.UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        alert="unknown_ca",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_EXPIRED,
        message="the certificate has expired",
        advice="The certificate's owner has to renew it. Add the new certificate of a pinned partner to its entry.",
        explanation=Explanation(
            "A certificate that your system presented has expired.",
            "Please get a certificate that is valid, and send us its public part before you use it.",
        ),
        errors=(VerifyError.CERT_HAS_EXPIRED,),
        tells=VerifyError.CERT_HAS_EXPIRED,
        alert="certificate_expired",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_NOT_YET_VALID,
        message="the certificate is not valid yet",
        advice="Check the clock of this host; if it is right, the partner has to use its present certificate.",
        explanation=Explanation(
            "A certificate that your system presented is not valid yet.",
            "Please use your present certificate until the new one is valid, or check when it was meant to begin.",
        ),
        errors=(VerifyError.CERT_NOT_YET_VALID,),
        tells=VerifyError.CERT_NOT_YET_VALID,
        alert="bad_certificate",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_REVOKED,
        message="the certificate is revoked",
        advice="Ask the partner why, by another way than this one; the partner needs a new certificate.",
        explanation=Explanation(
            "The authority that issued your certificate has revoked it, or that of one of its own authorities.",
            "Please find out why from the authority. You need a new certificate with a new key; send us its public"
            " part.",
        ),
        errors=(VerifyError.CERT_REVOKED,),
        tells=VerifyError.CERT_REVOKED,
        alert="certificate_revoked",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_REVOCATION_MISSING,
        message="there is no revocation list of the certificate's issuer",
        advice="Load the issuer's current revocation list in the backend, or set the CA's revocation to `prefer`.",
        explanation=Explanation(
            "We have no revocation list of the authority that issued your certificate, so that we could not check it.",
            "The list has to be loaded on our side. Please tell us where your authority publishes it.",
        ),
        errors=(VerifyError.UNABLE_TO_GET_CRL,),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_REVOCATION_STALE,
        message="the revocation list of the certificate's issuer is not current",
        advice="Load the issuer's current revocation list in the backend, give the CA hours of grace, or set its"
        " revocation to `prefer`.",
        explanation=Explanation(
            "The revocation list that we have of your certificate's authority is out of date, so that we could not"
            " check your certificate.",
            "A current list has to be loaded on our side; please ask your authority if it has not published one.",
        ),
        errors=(VerifyError.CRL_NOT_YET_VALID, VerifyError.CRL_HAS_EXPIRED),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_BAD_SIGNATURE,
        message="the certificate's signature is not its issuer's",
        advice="The certificate is damaged or forged. The partner has to check what it sends.",
        explanation=Explanation(
            "The signature of a certificate that your system presented is not that of its issuer.",
            "Please check that certificate, key and intermediate certificates are complete and belong together.",
        ),
        errors=(
            VerifyError.UNABLE_TO_DECRYPT_CERT_SIGNATURE,
            VerifyError.UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY,
            VerifyError.CERT_SIGNATURE_FAILURE,
            VerifyError.NO_ISSUER_PUBLIC_KEY,
            VerifyError.UNSUPPORTED_SIGNATURE_ALGORITHM,
            VerifyError.SIGNATURE_ALGORITHM_MISMATCH,
            VerifyError.SIGNATURE_ALGORITHM_INCONSISTENCY,
        ),
        tells=VerifyError.CERT_SIGNATURE_FAILURE,
        alert="decrypt_error",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_WEAK_KEY,
        message="the certificate's key is too weak",
        advice="The certificate's owner has to make a longer key: RSA from 2048 bits, EC from 256 bits.",
        explanation=Explanation(
            "The key of a certificate that your system presented is too weak.",
            "Please get a certificate for an RSA key of 2048 bits or more, or an EC key of 256 bits or more.",
        ),
        errors=(VerifyError.EE_KEY_TOO_SMALL, VerifyError.CA_KEY_TOO_SMALL),
        tells=VerifyError.EE_KEY_TOO_SMALL,
        alert="bad_certificate",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_WEAK_SIGNATURE,
        message="the certificate is signed with a hash that is too weak",
        advice="The certificate has to be issued again, signed with SHA-256 or better.",
        explanation=Explanation(
            "A certificate that your system presented is signed with a hash that is not safe any more.",
            "Please have it issued again, signed with SHA-256 or better.",
        ),
        errors=(VerifyError.CA_MD_TOO_WEAK,),
        tells=VerifyError.CA_MD_TOO_WEAK,
        alert="bad_certificate",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_WRONG_PURPOSE,
        message="the certificate is not meant for this use",
        advice="The partner needs a certificate with extended key usage clientAuth. If it cannot get one, set the"
        " purpose in its entry to `server_auth`, or pin the certificate and set the purpose to `any`.",
        explanation=Explanation(
            "Your certificate does not allow the use as a TLS client.",
            "Please get one with the extended key usage clientAuth (1.3.6.1.5.5.7.3.2).",
        ),
        errors=(VerifyError.INVALID_PURPOSE,),
        tells=VerifyError.INVALID_PURPOSE,
        alert="unsupported_certificate",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_PATH_TOO_LONG,
        message="the path from the certificate to its CA is too long",
        advice="Add the lowest of the intermediate CAs as a CA of its own.",
        explanation=Explanation(
            "There are too many authorities between your certificate and one that we know.",
            "Please tell us which authority issued your certificate, so that we can add it.",
        ),
        errors=(VerifyError.CERT_CHAIN_TOO_LONG, VerifyError.PATH_LENGTH_EXCEEDED),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_NOT_A_CA,
        message="the certificate may not issue others",
        advice="The partner has to send the certificates of the CAs that issued its own.",
        explanation=Explanation(
            "Your certificate was issued with a certificate that must not issue others.",
            "Please present the certificates of the authorities that issued yours, and no others.",
        ),
        errors=(VerifyError.KEYUSAGE_NO_CERTSIGN, VerifyError.INVALID_CA),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_INVALID_PATH,
        message="the path from the certificate to its CA is not valid",
        advice="See what OpenSSL says; the certificate or one of its CAs' has to be issued again.",
        explanation=Explanation(
            "The certificates that your system presented do not form a valid path.",
            "Please check that your system presents its own certificate first, and then those of its authorities.",
        ),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_UNREADABLE,
        message="the certificate cannot be read",
        advice="The certificate breaks the rules of X.509; the partner needs another one.",
        explanation=Explanation(
            "A certificate that your system presented cannot be read: it breaks the rules of X.509.",
            "Please have it issued again.",
        ),
        tells=VerifyError.CERT_NOT_YET_VALID,
        alert="bad_certificate",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_NO_PARTNER,
        message="the certificate is good, but belongs to no partner",
        advice="If it is a partner's, add a rule to its entry that this certificate fits.",
        explanation=Explanation(
            "Your certificate is valid, but it is not one that you have announced to us.",
            "Please send us its public part if it is a new one of yours, or use the one that we know.",
        ),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_PARTNER_DISABLED,
        message="the partner of this certificate is disabled",
        advice="Enable the partner's entry if it is to connect again.",
        explanation=Explanation(
            "Your connection is switched off on our side.",
            "Please ask your contact here when it will be switched on.",
        ),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_AMBIGUOUS,
        message="the certificate names more than one partner",
        advice="Change the certificate rules of these partners so that only one of them fits.",
        explanation=Explanation("Our settings do not say clearly whose certificate yours is.", OURS),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_NOT_EXPECTED,
        message="the certificate is not one that the called partner is known by",
        advice="Ask the partner, by another way than this one, whether it is its own; if so, add it to its outbound"
        " entry.",
        explanation=Explanation(
            "Your server presented another certificate than the one that we know.",
            "Please send us the public part of the certificate that your server presents.",
        ),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_WRONG_NAME,
        message="the certificate does not bear the name of the host that was called",
        advice="Check the host in the partner's outbound entry. If the certificate bears another name, give that name"
        " there, or pin the certificate.",
        explanation=Explanation(
            "The certificate of your server does not bear the name under which we called it.",
            "Please get one for the host name that we are to call, or tell us the right name.",
        ),
        tells=VerifyError.HOSTNAME_MISMATCH,
        alert="bad_certificate",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_NOT_CALLED,
        message="the partner's entry does not allow calls",
        advice="Give the partner's entry an outbound part if it is to be called again.",
        explanation=Explanation(
            "Our settings do not let us call you any more.", "Please ask your contact here if we are to call you again."
        ),
    ),
)

CERTIFICATE_CAUSES: Final[Mapping[Cause, CertificateCause]] = {row.cause: row for row in _ROWS}
"""The table, by the code."""

_BY_ERROR: Final[Mapping[int, Cause]] = {error: row.cause for row in _ROWS for error in row.errors}


def cause_of(code: int) -> Cause:
    """The cause that OpenSSL's error number *code* stands for; a number that is not listed means a refusal too."""
    return _BY_ERROR.get(code, Cause.CERTIFICATE_INVALID_PATH)


Detail = str | int | tuple[str, ...]
"""A fact about a refusal, ready for a log."""


@attrs.define(kw_only=True, eq=False, auto_exc=True, str=False)
class CertificateRefusal(Exception):
    """A peer's certificate does not prove that it is a partner.

    :ivar cause: what is wrong; one of :data:`CERTIFICATE_CAUSES`.
    :ivar depth: which certificate of the path it is about: 0 is the peer's own.
    :ivar subject: that certificate's subject; empty if there is none.
    :ivar issuer: that certificate's issuer; empty if there is none.
    :ivar detail: what was compared, by name: dates (ISO 8601, UTC), ages (seconds), pins, key sizes.
    """

    cause: Cause
    depth: int = 0
    subject: str = ""
    issuer: str = ""
    detail: Mapping[str, Detail] = attrs.field(factory=dict)

    @property
    def message(self) -> str:
        """What is wrong, in one sentence without a full stop."""
        place = f" (certificate {self.depth} of the path)" if self.depth else ""
        return CERTIFICATE_CAUSES[self.cause].message + place

    @property
    def advice(self) -> str:
        """What to do about it."""
        return CERTIFICATE_CAUSES[self.cause].advice

    def __str__(self) -> str:
        return f"{self.message} [{self.cause}]"


def refusal(cause: Cause, certificate: CertificateFacts, depth: int = 0, /, **detail: Detail) -> CertificateRefusal:
    """The refusal of *certificate*, with what always helps to find it."""
    return CertificateRefusal(
        cause=cause,
        depth=depth,
        subject=certificate.subject,
        issuer=certificate.issuer,
        detail={"serial": f"{certificate.serial:x}", "certificate_sha256": certificate.sha256, **detail},
    )
