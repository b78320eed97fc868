"""Who a peer is: the proof that a partner's certificate gave, and whether his SSID agrees with it.

Duty: hold the proof, and judge the partner's SSID against his own entry and no other. A partner who proved himself by
his certificate must not speak for another one: an SSIDCODE that is not his ends the session, whether it is somebody
else's or nobody's. Never repeats what a peer sent in a refusal.

RFC 5024 sections 4.2 (session start), 5.3.2 (SSID), 5.4 (identification codes), 11 (authenticated is not authorized).
"""

from collections.abc import Iterable

import attrs

from smartproxy.oftp2.commands import SSID
from smartproxy.policy.certificates.facts import CertificateFacts, ChainFacts
from smartproxy.policy.faults import AuthenticationRefused, IdentityMismatch, LevelTooLow, UnknownIdentity
from smartproxy.policy.partners import Authentication, NotACode, Partner, normalize_code


@attrs.frozen(kw_only=True)
class VerifiedPartner:
    """A partner who has proved by his certificate who he is.

    Made by the TLS verifier from what :func:`~smartproxy.policy.certificates.judge.judge_chain` found, and nowhere
    else: who holds one need not ask again.

    :ivar partner: his entry, of the generation in force when he connected.
    :ivar certificate: the certificate that he showed.
    :ivar by: which kind of rule fitted: ``certificate``, ``key``, ``subject`` or ``san``.
    :ivar ca: the CA of that rule; ``None`` for a pin.
    :ivar chain: what he showed and what OpenSSL made of it, to be judged again when the configuration changes.
    """

    partner: Partner
    certificate: CertificateFacts
    by: str
    ca: str | None
    chain: ChainFacts = attrs.field(repr=False)


def judge_ssid(verified: VerifiedPartner, ssid: SSID, partners: Iterable[Partner]) -> None:
    """Whether *ssid* is one that the verified partner may send.

    :param partners: all partners of the site, to say in the event whether the code is another one's.
    :raises UnknownIdentity: if the code is nobody's.
    :raises IdentityMismatch: if the code is another partner's.
    :raises LevelTooLow: if the release level is below the partner's lowest.
    :raises AuthenticationRefused: if secure authentication is not as his entry has it.
    """
    partner = verified.partner
    judge_code(partner, ssid.code, partners)
    if ssid.lev < partner.lowest_level:
        raise LevelTooLow(
            rule="identity.level",
            message=f"release level {ssid.lev} offered, but partner {partner.name!a} has to offer"
            f" {partner.lowest_level.value} at least",
        )
    secure = ssid.auth == "Y"
    if secure and partner.authentication is Authentication.REFUSED:
        raise AuthenticationRefused(
            rule="identity.authentication",
            message=f"secure authentication wanted, but the entry of partner {partner.name!a} refuses it",
        )
    if not secure and partner.authentication is Authentication.REQUIRED:
        raise AuthenticationRefused(
            rule="identity.authentication",
            message=f"no secure authentication offered, but the entry of partner {partner.name!a} requires it",
        )


def judge_code(partner: Partner, code: str, partners: Iterable[Partner] = ()) -> None:
    """Whether *partner* may use the SSIDCODE *code*: one of his codes, octet for octet, blanks at the end aside.

    :raises UnknownIdentity: if the code is nobody's.
    :raises IdentityMismatch: if the code is that of another of *partners*.
    """
    try:
        octets = normalize_code(code)
    except NotACode:
        octets = b""
    if _has(partner, octets):
        return
    other = next((entry for entry in partners if _has(entry, octets)), None)
    if other is None:
        raise UnknownIdentity(
            rule="identity.code", message=f"the SSIDCODE is none of partner {partner.name!a} and of nobody else"
        )
    raise IdentityMismatch(
        rule="identity.code",
        message=f"the SSIDCODE belongs to partner {other.name!a}, but the certificate is that of {partner.name!a}",
    )


def _has(partner: Partner, octets: bytes) -> bool:
    return any(normalize_code(code) == octets for code in partner.codes)
