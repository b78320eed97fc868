"""A partner's identity: the proof by its certificate, and whether its SSID agrees with it.

Duty: hold the proof, and judge the partner's SSID against the partner's own entry only. A partner that is identified by
its certificate must not act for another one: an SSIDCODE that is not assigned to it ends the session, even if the code
is assigned to another partner. A refusal never repeats what a peer sent.

RFC 5024 sections 4.2 (session start), 5.3.2 (SSID), 5.4 (identification codes), 11 (authenticated is not authorized).
"""

from collections.abc import Iterable
from typing import Final

import attrs

from smartproxy.oftp2.commands import SFID, SSID
from smartproxy.oftp2.roles import Level
from smartproxy.policy.causes import Cause
from smartproxy.policy.certificates.facts import CertificateFacts, ChainFacts
from smartproxy.policy.faults import (
    AuthenticationRefused,
    FileCodeRefused,
    IdentityMismatch,
    LevelTooLow,
    UnknownIdentity,
)
from smartproxy.policy.partners import ANY_CODE, Authentication, NotACode, Partner, normalize_code

OF_THE_STATION: Final = frozenset({Cause.IDENTITY_STATION_LEVEL, Cause.IDENTITY_STATION_AUTHENTICATION})
"""The causes for which the station's SSID is refused: the partner never sees it."""


@attrs.frozen(kw_only=True)
class VerifiedPartner:
    """A partner that is identified by its certificate.

    Made only by the TLS verifier, from the result of :func:`~smartproxy.policy.certificates.judge.judge_chain`: code
    that holds one need not verify again.

    :ivar partner: its entry, of the generation in force when it connected.
    :ivar certificate: the certificate that it presented.
    :ivar by: the kind of rule that matched: ``certificate``, ``key``, ``subject`` or ``san``, or ``name`` (the called
        host's name).
    :ivar ca: the CA of that rule; ``None`` for a pin.
    :ivar chain: the chain that it presented, with OpenSSL's findings; judged again when the configuration changes.
    """

    partner: Partner
    certificate: CertificateFacts
    by: str
    ca: str | None
    chain: ChainFacts = attrs.field(repr=False)


def judge_ssid(verified: VerifiedPartner, ssid: SSID, partners: Iterable[Partner]) -> None:
    """Check that the verified partner may send *ssid*.

    :param partners: all partners of the site, to report whether the code is assigned to another one.
    :raises UnknownIdentity: if the code is not assigned to any partner.
    :raises IdentityMismatch: if the code is assigned to another partner.
    :raises LevelTooLow: if the release level is below the partner's lowest.
    :raises AuthenticationRefused: if SSIDAUTH is not what the partner's entry requires.
    """
    partner = verified.partner
    judge_code(partner, ssid.code, partners)
    _judge_level(partner, ssid, Cause.IDENTITY_LEVEL, "partner")
    _judge_authentication(partner, ssid, Cause.IDENTITY_AUTHENTICATION, "partner")


def judge_station(partner: Partner, ssid: SSID) -> None:
    """Check that the station may send *ssid* in a session with *partner*.

    The lower of the two release levels counts (RFC 5024 section 5.3.2), so that the station, too, can lower it.

    Both sides send the same SSIDAUTH: a partner that is called has to answer with the station's.

    :raises LevelTooLow: if the release level is below the partner's lowest.
    :raises AuthenticationRefused: if SSIDAUTH is not what the partner's entry requires.
    """
    _judge_level(partner, ssid, Cause.IDENTITY_STATION_LEVEL, "station")
    _judge_authentication(partner, ssid, Cause.IDENTITY_STATION_AUTHENTICATION, "station")


def _judge_level(partner: Partner, ssid: SSID, rule: Cause, side: str) -> None:
    if ssid.lev < partner.lowest_level:
        raise LevelTooLow(
            rule=rule,
            message=f"release level {Level(ssid.lev).label} offered by the {side}; the lowest allowed for partner"
            f" {partner.name!a} is {partner.lowest_level.label}",
        )


def _judge_authentication(partner: Partner, ssid: SSID, rule: Cause, side: str) -> None:
    secure = ssid.auth == "Y"
    if secure and partner.authentication is Authentication.REFUSED:
        raise AuthenticationRefused(
            rule=rule,
            message=f"secure authentication requested by the {side}, but the entry of partner {partner.name!a} refuses"
            " it",
        )
    if not secure and partner.authentication is Authentication.REQUIRED:
        raise AuthenticationRefused(
            rule=rule,
            message=f"no secure authentication offered by the {side}, but the entry of partner {partner.name!a}"
            " requires it",
        )


def judge_file(partner: Partner, file: SFID) -> None:
    """Check that *partner* may send a file from this originator to this destination.

    :raises FileCodeRefused: if SFIDORIG or SFIDDEST is none that its entry allows.
    """
    for code, allowed, rule, field in (
        (file.orig, partner.originators, Cause.IDENTITY_ORIGINATOR, "SFIDORIG"),
        (file.dest, partner.destinations, Cause.IDENTITY_DESTINATION, "SFIDDEST"),
    ):
        if ANY_CODE not in allowed and code not in (each.rstrip(" ") for each in allowed):
            raise FileCodeRefused(
                rule=rule, message=f"the entry of partner {partner.name!a} does not allow this {field}"
            )


def judge_code(partner: Partner, code: str, partners: Iterable[Partner] = ()) -> None:
    """Check that the SSIDCODE *code* is assigned to *partner*, octet for octet; blanks at the end do not count.

    :raises UnknownIdentity: if the code is not assigned to any partner.
    :raises IdentityMismatch: if the code is assigned to another of *partners*.
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
            rule=Cause.IDENTITY_CODE,
            message=f"SSIDCODE not assigned to partner {partner.name!a} or to any other partner",
        )
    raise IdentityMismatch(
        rule=Cause.IDENTITY_CODE,
        message=f"SSIDCODE assigned to partner {other.name!a}, but the certificate belongs to {partner.name!a}",
    )


def _has(partner: Partner, octets: bytes) -> bool:
    return any(normalize_code(code) == octets for code in partner.codes)
