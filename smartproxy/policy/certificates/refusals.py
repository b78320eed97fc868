"""A certificate refused: what is wrong with which certificate, and what to do about it.

Duty: the one exception of certificate policy and its words. They are for this site's operator, who can send them to the
partner as they are. Names and dates in it come from a certificate that nobody has vouched for: whoever shows them
escapes them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from smartproxy.policy.certificates.causes import RefusalCause

if TYPE_CHECKING:
    from smartproxy.policy.certificates.judge import CertificateFacts

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
