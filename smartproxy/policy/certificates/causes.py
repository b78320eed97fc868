"""Why certificates are refused: one row for each cause, and the refusal that carries it.

Duty: define for each cause the OpenSSL findings that lead to it, the TLS alert that the peer gets, the message and
advice for this site's operator, the title and the steps that the page shows, and the explanation for the partner; and
what of it is other where this site called. A new cause needs a member of
:class:`~smartproxy.policy.causes.Cause` and a row here. The numbers are those of OpenSSL's ``x509_vfy.h``, which are
part of its stable interface; nothing of OpenSSL is imported. Names and dates in a refusal come from an unverified
certificate: code that shows them has to escape them.

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
    IP_ADDRESS_MISMATCH = 64
    EE_KEY_TOO_SMALL = 66
    CA_KEY_TOO_SMALL = 67
    CA_MD_TOO_WEAK = 68
    UNSUPPORTED_SIGNATURE_ALGORITHM = 76
    SIGNATURE_ALGORITHM_MISMATCH = 77
    SIGNATURE_ALGORITHM_INCONSISTENCY = 78
    INVALID_CA = 79


#: The findings after which the path does not end at an anchor.
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


BROKEN: Final = frozenset(
    {
        VerifyError.UNABLE_TO_DECRYPT_CERT_SIGNATURE,
        VerifyError.UNABLE_TO_DECODE_ISSUER_PUBLIC_KEY,
        VerifyError.CERT_SIGNATURE_FAILURE,
        VerifyError.NO_ISSUER_PUBLIC_KEY,
        VerifyError.UNSUPPORTED_SIGNATURE_ALGORITHM,
        VerifyError.SIGNATURE_ALGORITHM_MISMATCH,
        VerifyError.SIGNATURE_ALGORITHM_INCONSISTENCY,
    }
)
"""After these a certificate of the path is not signed by the one above it."""

#: Here it is this site that lacks something; the peer may have done nothing wrong.
OF_THIS_SITE: Final = frozenset({Cause.CERTIFICATE_REVOCATION_MISSING, Cause.CERTIFICATE_REVOCATION_STALE})


@attrs.frozen
class Explanation:
    """What a partner is told: true for every reader, without details of the internal network.

    :ivar happened: what happened, as a sentence to the partner.
    :ivar remedy: what the partner has to do, or can expect.
    :ivar ours: whether the cause is on this side: the partner need not change anything.
    """

    happened: str
    remedy: str
    ours: bool = False


@attrs.frozen(kw_only=True)
class Called:
    """What is other in a row where this site called the partner; what is empty is as in the row."""

    advice: str = ""
    explanation: Explanation | None = None
    title: str = ""
    steps: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class CertificateCause:
    """A row of the table.

    :ivar cause: the code.
    :ivar title: what happened, for the page: a sentence with ``%(who)s``.
    :ivar steps: what this site's operator can do on the page, in its order.
    :ivar message: what is wrong, for this site's log: a sentence without a full stop.
    :ivar advice: what this site's operator can do.
    :ivar explanation: what the partner is told.
    :ivar called: what is other where this site called.
    :ivar errors: the OpenSSL findings that lead to this cause.
    :ivar tells: the finding that makes OpenSSL send the right alert.
    :ivar alert: the name of that alert, in TLS 1.3.
    """

    cause: Cause
    title: str
    steps: tuple[str, ...]
    message: str
    advice: str
    explanation: Explanation
    called: Called = Called()
    errors: tuple[VerifyError, ...] = ()
    tells: VerifyError = VerifyError.NO_EXPLICIT_POLICY
    alert: str = "certificate_unknown"

    @property
    def advice_called(self) -> str:
        """What this site's operator can do where it called."""
        return self.called.advice or self.advice


NOTHING_TO_CHANGE: Final = "You need not change anything"
"""What every remedy says where the cause is on our side."""
OURS: Final = f"The cause is on our side. {NOTHING_TO_CHANGE}; please try again later."
"""What a partner is told to do where the cause is on our side."""
COMPARE: Final = "Compare the SHA-256 with the partner, by telephone or with what it publishes."
_WHICH_CA: Final = "Find out from the issuer which CA it is, and whether you want to trust it: then load the CA."
VERIFY_BY_PIN: Final = (
    "Or trust this certificate alone, and set on the partner's page that the certificate of its server is verified by"
    " the pin."
)
"""A step where the certificate of a called partner's server is not known."""

_ROWS: Final = (
    CertificateCause(
        cause=Cause.CERTIFICATE_MISSING,
        title="%(who)s presents no certificate",
        steps=("Tell the partner to configure its certificate and key for calls to you.",),
        message="the peer presented no certificate",
        advice="The partner has to configure a client certificate for outgoing connections.",
        explanation=Explanation(
            "Your system did not present a TLS client certificate.",
            "Please configure your certificate and its private key for outgoing OFTP2 connections to us.",
        ),
        alert="certificate_required",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_UNKNOWN_CA,
        title="%(who)s presents a certificate of a CA that is not known here",
        steps=(
            _WHICH_CA,
            "Or trust this certificate alone, if the partner confirms its SHA-256.",
        ),
        message="the certificate is neither issued by a configured CA nor pinned",
        advice="To accept this certificate, pin it in the partner's entry or add the CA that issued it."
        " If the partner did not send its intermediate certificates, it has to send them.",
        explanation=Explanation(
            "Neither your certificate nor the CA that issued it is known to us.",
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
        called=Called(
            advice="If the partner's certificate is pinned for its own calls, have it verified by that: smartproxy"
            " partner outbound NAME --verify pin. Otherwise add the CA that issued it.",
            steps=(_WHICH_CA, VERIFY_BY_PIN),
        ),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_EXPIRED,
        title="The certificate of %(who)s has ended",
        steps=("Ask the partner for its new certificate, and compare the SHA-256 by telephone.",),
        message="the certificate has expired",
        advice="The partner has to renew the certificate. If it is pinned, add the new one to the partner's entry.",
        explanation=Explanation(
            "A certificate that your system presented has expired.",
            "Please obtain a new certificate, and send us its public part before you use it.",
        ),
        errors=(VerifyError.CERT_HAS_EXPIRED,),
        tells=VerifyError.CERT_HAS_EXPIRED,
        alert="certificate_expired",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_NOT_YET_VALID,
        title="The certificate of %(who)s is not valid yet",
        steps=("Have the partner use its old one until then, or compare the clocks.",),
        message="the certificate is not valid yet",
        advice="Check this host's clock. If it is right, the partner has to use its current certificate.",
        explanation=Explanation(
            "A certificate that your system presented is not valid yet.",
            "Please use your current certificate until the new one is valid, or check its start date.",
        ),
        errors=(VerifyError.CERT_NOT_YET_VALID,),
        tells=VerifyError.CERT_NOT_YET_VALID,
        alert="bad_certificate",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_REVOKED,
        title="The certificate of %(who)s is revoked",
        steps=("Do not trust it. Ask the partner what happened, and for a new certificate with a new key.",),
        message="the certificate is revoked",
        advice="Ask the partner for the reason by phone or mail. The partner needs a new certificate.",
        explanation=Explanation(
            "Your certificate, or the certificate of one of its issuing CAs, has been revoked.",
            "Please ask the CA for the reason. You need a new certificate with a new key; send us its public part.",
        ),
        errors=(VerifyError.CERT_REVOKED,),
        tells=VerifyError.CERT_REVOKED,
        alert="certificate_revoked",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_REVOCATION_MISSING,
        title="There is no revocation list for the certificate of %(who)s",
        steps=(
            "Approve the address that the certificate names, or load the list of its CA.",
            "A list that is approved is downloaded within minutes, and again by itself.",
        ),
        message="there is no revocation list from its issuer that covers the certificate",
        advice="Load the issuer's current revocation list in the backend (each part, if it comes in parts), or set the"
        " CA's revocation to `prefer`.",
        explanation=Explanation(
            "We have no revocation list from the CA that issued your certificate and could not check it.",
            "The list has to be loaded on our side. Please tell us where your CA publishes it.",
        ),
        errors=(VerifyError.UNABLE_TO_GET_CRL,),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_REVOCATION_STALE,
        title="The revocation list for the certificate of %(who)s is out of date",
        steps=("See why no newer list was downloaded; load one by hand if the CA cannot be reached.",),
        message="the revocation list from the certificate's issuer is not current",
        advice="Load the issuer's current revocation list in the backend, give the CA hours of grace, or set its"
        " revocation to `prefer`.",
        explanation=Explanation(
            "Our revocation list from the CA that issued your certificate is out of date, and we could not"
            " check your certificate.",
            "A current list has to be loaded on our side. Please check that your CA has published one.",
        ),
        errors=(VerifyError.CRL_NOT_YET_VALID, VerifyError.CRL_HAS_EXPIRED),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_BAD_SIGNATURE,
        title="The signature of the certificate of %(who)s is wrong",
        steps=(
            "Do not trust it: it is damaged or forged.",
            "Have the partner check that its certificate, key and intermediate certificates belong together.",
        ),
        message="the certificate's signature was not made by its issuer",
        advice="The certificate is damaged or forged. The partner has to check what it sends.",
        explanation=Explanation(
            "The signature of a certificate that your system presented was not made by its issuer.",
            "Please check that certificate, key and intermediate certificates are complete and belong together.",
        ),
        errors=tuple(sorted(BROKEN)),
        tells=VerifyError.CERT_SIGNATURE_FAILURE,
        alert="decrypt_error",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_WEAK_KEY,
        title="The key of the certificate of %(who)s is too weak",
        steps=("Ask the partner for a certificate with a stronger key: RSA from 2048 bits, or EC from 256 bits.",),
        message="the certificate's key is too weak",
        advice="The partner needs a certificate with a stronger key: RSA from 2048 bits, EC from 256 bits.",
        explanation=Explanation(
            "The key of a certificate that your system presented is too weak.",
            "Please obtain a certificate for an RSA key of at least 2048 bits, or an EC key of at least 256 bits.",
        ),
        errors=(VerifyError.EE_KEY_TOO_SMALL, VerifyError.CA_KEY_TOO_SMALL),
        tells=VerifyError.EE_KEY_TOO_SMALL,
        alert="bad_certificate",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_EXPENSIVE_KEY,
        title="The key of the certificate of %(who)s is larger than accepted, or of another kind",
        steps=("Ask the partner for a certificate with an ordinary key: RSA from 2048 to 8192 bits, or EC.",),
        message="the certificate's key is larger than accepted, or of a kind that is not accepted",
        advice="The certificate's owner has to make an ordinary key: RSA to 8192 bits with the exponent 65537, or EC.",
        explanation=Explanation(
            "The key of a certificate that your system presented is larger than we accept, or of another kind.",
            "Please get a certificate for an RSA key of 2048 to 8192 bits with the exponent 65537, or for an EC key.",
        ),
        tells=VerifyError.EE_KEY_TOO_SMALL,
        alert="bad_certificate",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_WEAK_SIGNATURE,
        title="The certificate of %(who)s is signed with a weak hash",
        steps=("Have the partner get it reissued with SHA-256 or better.",),
        message="the certificate's signature uses a weak hash",
        advice="The certificate has to be reissued with SHA-256 or better.",
        explanation=Explanation(
            "A certificate that your system presented is signed with a hash that is no longer secure.",
            "Please have it reissued with SHA-256 or better.",
        ),
        errors=(VerifyError.CA_MD_TOO_WEAK,),
        tells=VerifyError.CA_MD_TOO_WEAK,
        alert="bad_certificate",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_WRONG_PURPOSE,
        title="The certificate of %(who)s is not made for TLS clients",
        steps=(
            "Ask the partner for a certificate with the extended key usage clientAuth.",
            "Or allow certificates for servers from this partner, too.",
        ),
        message="the certificate's key usage does not allow this use",
        advice="The partner needs a certificate with extended key usage clientAuth. If it cannot get one, set the"
        " purpose in its entry to `server_auth`, or pin the certificate and set the purpose to `any`.",
        explanation=Explanation(
            "Your certificate may not be used for a TLS client.",
            "Please obtain one with the extended key usage clientAuth (1.3.6.1.5.5.7.3.2).",
        ),
        errors=(VerifyError.INVALID_PURPOSE,),
        tells=VerifyError.INVALID_PURPOSE,
        alert="unsupported_certificate",
        called=Called(
            advice="The partner's server needs a certificate with extended key usage serverAuth. If it cannot get one,"
            " set the purpose in its entry to `server_auth`, or pin the certificate and set it to `any`.",
            explanation=Explanation(
                "Your certificate may not be used for a TLS server.",
                "Please obtain one with the extended key usage serverAuth (1.3.6.1.5.5.7.3.1).",
            ),
            title="The certificate of %(who)s is not made for TLS servers",
            steps=(
                "Ask the partner for a certificate with the extended key usage serverAuth.",
                "Or allow certificates for clients from this partner, too.",
            ),
        ),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_PATH_TOO_LONG,
        title="There are too many CAs above the certificate of %(who)s",
        steps=("Load the lowest of these CAs as a CA of its own, if you trust it.",),
        message="the path from the certificate to its CA is too long",
        advice="Add the lowest intermediate CA as a separate CA.",
        explanation=Explanation(
            "There are too many intermediate CAs between your certificate and a CA that we know.",
            "Please tell us which CA issued your certificate, so that we can add it.",
        ),
        errors=(VerifyError.CERT_CHAIN_TOO_LONG, VerifyError.PATH_LENGTH_EXCEEDED),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_NOT_A_CA,
        title="The certificate of %(who)s was not issued with the certificate of a CA",
        steps=("Have the partner send the certificates of the CAs that issued its own, and no others.",),
        message="the certificate was issued with one that is not a CA certificate",
        advice="The partner has to send the certificates of the CAs that issued its certificate.",
        explanation=Explanation(
            "Your certificate was issued with a certificate that is not a CA certificate.",
            "Please present the certificates of the CAs that issued yours, and no others.",
        ),
        errors=(VerifyError.KEYUSAGE_NO_CERTSIGN, VerifyError.INVALID_CA),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_INVALID_PATH,
        title="The certificates of %(who)s do not form a valid path to a CA",
        steps=(
            "Have the partner send its own certificate first, and then those of its CAs.",
            "If it does, one of them has to be reissued: the message of OpenSSL says what is wrong.",
        ),
        message="the path from the certificate to its CA is not valid",
        advice="See OpenSSL's message. The certificate, or the certificate of one of its CAs, has to be reissued.",
        explanation=Explanation(
            "The certificates that your system presented do not form a valid path.",
            "Please check that your system presents its own certificate first, and then those of its CAs.",
        ),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_UNREADABLE,
        title="The certificate of %(who)s cannot be read",
        steps=("Ask the partner for a new one: this one violates X.509.",),
        message="the certificate cannot be read",
        advice="The certificate violates X.509. The partner needs a new one.",
        explanation=Explanation(
            "A certificate that your system presented cannot be read: it violates X.509.",
            "Please have it reissued.",
        ),
        tells=VerifyError.CERT_NOT_YET_VALID,
        alert="bad_certificate",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_FROM_ROOT,
        title="The certificate of %(who)s was issued by a root directly",
        steps=(
            "Ask the partner for a certificate of an issuing CA.",
            "Or trust this certificate alone, if the partner confirms its SHA-256.",
        ),
        message="the certificate was issued by a root directly, which is not accepted of this CA",
        advice="Ask the partner for a certificate of an issuing CA. If this one is right: smartproxy ca change NAME"
        " --refuse-direct no, or pin the certificate.",
        explanation=Explanation(
            "Your certificate was issued directly by a root. We accept certificates of its issuing CAs only.",
            "Please obtain one from an issuing CA.",
        ),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_NO_PARTNER,
        title="%(who)s presents a certificate that nobody here knows",
        steps=(
            COMPARE,
            "Trust the certificate beside the one that is known; both are good until the old one ends.",
        ),
        message="the certificate is valid, but not assigned to any partner",
        advice="If it belongs to a partner, add a rule that matches this certificate to the partner's entry.",
        explanation=Explanation(
            "Your certificate is valid, but not registered with us.",
            "If it is new, please send us its public part; otherwise use the certificate that we know.",
        ),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_PARTNER_DISABLED,
        title="%(who)s is disabled here, and calls",
        steps=("Enable the partner, or tell it that it is not expected.",),
        message="the certificate's partner is disabled",
        advice="To let the partner connect again, enable its entry.",
        explanation=Explanation(
            "Your connection is disabled on our side.",
            "Please ask your contact at our company when it will be enabled.",
        ),
        called=Called(
            title="%(who)s is disabled here",
            steps=("Enable the partner, if it is to be called again.",),
        ),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_AMBIGUOUS,
        title="The certificate of %(who)s belongs to more than one partner",
        steps=("Remove the rule of one of them: a certificate names exactly one partner.",),
        message="the certificate matches the rules of more than one partner",
        advice="Change the certificate rules of these partners so that only one of them matches.",
        explanation=Explanation("Our settings assign your certificate to more than one partner.", OURS, ours=True),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_NOT_EXPECTED,
        title="%(who)s was called, and presents a certificate that is not known of it",
        steps=(
            COMPARE,
            "If it is the partner's own, add it on the partner's page, where it is called.",
        ),
        message="the certificate is not one expected from the called partner",
        advice="Ask the partner by phone or mail whether the certificate is its own. If so, add it to the partner's"
        " outbound entry.",
        explanation=Explanation(
            "Your server presented a certificate that is not registered with us.",
            "Please send us the public part of the certificate that your server presents.",
        ),
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_WRONG_NAME,
        title="The certificate of %(who)s does not have the name of the host that was called",
        steps=(
            "Compare the host on the partner's page with the names in the certificate.",
            "If another name in it is the partner's, enter that one there; or have it verified by a pin.",
        ),
        message="the certificate does not contain the name of the called host",
        advice="Check the host in the partner's outbound entry. If the certificate contains another name, enter that"
        " name there, or pin it: smartproxy partner outbound NAME --certificate FILE --verify pin.",
        explanation=Explanation(
            "Your server's certificate does not contain the host name that we called.",
            "Please obtain one for this host name, or tell us the right name.",
        ),
        tells=VerifyError.HOSTNAME_MISMATCH,
        alert="bad_certificate",
    ),
    CertificateCause(
        cause=Cause.CERTIFICATE_NOT_CALLED,
        title="%(who)s may not be called any more",
        steps=("Say on the partner's page where it is called, if calls to it are to be allowed again.",),
        message="the partner's entry does not allow outgoing calls",
        advice="To call the partner again, add an outbound part to its entry.",
        explanation=Explanation(
            "Our settings no longer allow calls to your system.",
            "Please ask your contact at our company whether calls are to be allowed again.",
        ),
    ),
)

CERTIFICATE_CAUSES: Final[Mapping[Cause, CertificateCause]] = {row.cause: row for row in _ROWS}
"""The table, by code."""

_BY_ERROR: Final[Mapping[int, Cause]] = {error: row.cause for row in _ROWS for error in row.errors}


def cause_of(code: int) -> Cause:
    """The cause for OpenSSL's error number *code*; an unlisted number is refused, too, as an invalid path."""
    return _BY_ERROR.get(code, Cause.CERTIFICATE_INVALID_PATH)


Detail = str | int | tuple[str, ...]
"""A fact about a refusal, ready for a log."""


@attrs.define(kw_only=True, eq=False, auto_exc=True, str=False)
class CertificateRefusal(Exception):
    """A peer's certificate does not prove that it is a partner.

    :ivar cause: what is wrong; one of :data:`CERTIFICATE_CAUSES`.
    :ivar depth: the depth of the refused certificate in the path; 0 is the peer's own.
    :ivar subject: that certificate's subject; empty if there is none.
    :ivar issuer: that certificate's issuer; empty if there is none.
    :ivar detail: the compared values, by name: dates (ISO 8601, UTC), ages (seconds), pins, key sizes.
    """

    cause: Cause
    depth: int = 0
    subject: str = ""
    issuer: str = ""
    detail: Mapping[str, Detail] = attrs.field(factory=dict)

    @property
    def message(self) -> str:
        """What is wrong, in one sentence without a full stop."""
        place = f" (certificate {self.depth} in the path)" if self.depth else ""
        return CERTIFICATE_CAUSES[self.cause].message + place

    @property
    def advice(self) -> str:
        """What to do about it."""
        return CERTIFICATE_CAUSES[self.cause].advice

    def __str__(self) -> str:
        return f"{self.message} [{self.cause}]"


def refusal(cause: Cause, certificate: CertificateFacts, depth: int = 0, /, **detail: Detail) -> CertificateRefusal:
    """The refusal of *certificate*, with its serial number, fingerprint and unreadable extensions in the details."""
    if certificate.unreadable:
        detail["unreadable"] = ", ".join(certificate.unreadable)
    return CertificateRefusal(
        cause=cause,
        depth=depth,
        subject=certificate.subject,
        issuer=certificate.issuer,
        detail={"serial": f"{certificate.serial:x}", "certificate_sha256": certificate.sha256, **detail},
    )
