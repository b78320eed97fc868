"""What TLS proved about a partner, or did not: as facts of a session, and as fields of events.

The one place for both directions: events describe partners that call and partners that are called with the same fields.
Judges nothing: :mod:`smartproxy.policy.certificates` did.
"""

from collections.abc import Mapping
from typing import Final

from smartproxy.logs.catalogue import EVENTS
from smartproxy.net.tls.verdict import VerifiedConnection
from smartproxy.policy.certificates.causes import CertificateRefusal
from smartproxy.policy.identity import VerifiedPartner
from smartproxy.relay.openings import PartnerTls, SessionFacts

ABOUT_OUR_CERTIFICATE: Final = frozenset(
    {
        "bad_certificate",
        "certificate_expired",
        "certificate_revoked",
        "certificate_unknown",
        "unknown_ca",
        "unsupported_certificate",
    }
)
"""The alerts with which a peer refuses our certificate."""
OUR_CERTIFICATE_ADVICE: Final = (
    "The partner's system does not accept our certificate. Send it to the partner: "
    "smartproxy identity show NAME -o FILE"
)


def verified_facts(partner: VerifiedPartner, peer: str, tls: VerifiedConnection) -> SessionFacts:
    """The facts of a session with a partner before the first command.

    :param peer: its address and port.
    """
    return SessionFacts(
        peer=peer,
        partner=partner.partner.name,
        profile=partner.partner.profile,
        tls=PartnerTls(tls.get_protocol_version_name()),
        certificate_sha256=partner.certificate.sha256,
    )


def proof_fields(partner: VerifiedPartner, tls: VerifiedConnection) -> dict[str, object]:
    """The fields of an event about a certificate that proved who a partner is."""
    certificate = partner.certificate
    return {
        "partner": partner.partner.name,
        "by": partner.by,
        "ca": partner.ca,
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": f"{certificate.serial:x}",
        "certificate_sha256": certificate.sha256,
        "key_sha256": certificate.key_sha256,
        "not_after": certificate.not_after,
        "crl_points": certificate.crl_points or None,
        "tls": tls.get_protocol_version_name(),
        "cipher": tls.get_cipher_name(),
    }


def refusal_fields(refusal: CertificateRefusal, tls: VerifiedConnection, event: str) -> Mapping[str, object]:
    """The fields of an event about a refused certificate, beside cause and message.

    :param event: its name: a detail for which this event has a field goes there, the rest into ``facts``.
    """
    fields = EVENTS[event].fields
    others = {
        name: value if isinstance(value, str | int) else str(value)
        for name, value in refusal.detail.items()
        if name not in fields
    }
    return {
        "depth": refusal.depth,
        "subject": refusal.subject or None,
        "issuer": refusal.issuer or None,
        "facts": others or None,
        "alert": tls.verification.alert_sent,
        "tls": tls.get_protocol_version_name(),
        "advice": refusal.advice,
        **{name: value for name, value in refusal.detail.items() if name in fields},
    }
