"""Which refused certificates another configuration may let in: what bans for them end with.

A ban is of an address, and does not know the certificate; so all that is compared is what certificates are judged by.
"""

from collections.abc import Hashable

from smartproxy.policy.configuration import ServerConfiguration
from smartproxy.policy.penalties import OF_A_CERTIFICATE, Fault


def forgivable(before: ServerConfiguration | None, after: ServerConfiguration) -> frozenset[Fault]:
    """The faults that may be none any more under another configuration.

    A new revocation list lets in what an older one revoked, and no other certificate.
    """
    if before is None or _judged_by(before) != _judged_by(after):
        return OF_A_CERTIFICATE
    return frozenset() if _revoked(before) == _revoked(after) else frozenset({Fault.REVOKED})


def _judged_by(server: ServerConfiguration) -> Hashable:
    """What the partners' entries and the CAs say of certificates; their order does not matter."""
    return (
        frozenset((each.enabled, each.purpose, each.certificates) for each in server.partners),
        frozenset(
            (each.name, each.certificates, each.revocation, each.grace_hours, each.refuse_direct) for each in server.cas
        ),
    )


def _revoked(server: ServerConfiguration) -> Hashable:
    """What the lists revoke, however new they are."""
    return frozenset(
        (each.issuer_key_sha256, each.issuer_name, each.scope, each.serials.octets, each.serials.width)
        for each in server.revocation
    )
