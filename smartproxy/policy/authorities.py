"""Certificates in the configuration: the authorities that partners' come from, and the server's own.

Duty: the classes of ``server.authorities`` and ``server.identities``. A private key is here only in memory and never in
a ``repr``.
"""

import enum
import functools

import attrs

from smartproxy.policy import limits, pem
from smartproxy.policy.schema import NAME, Member, Pem, Whole, kind, masked

_CERTIFICATE = "CERTIFICATE"


class RevocationMode(enum.StrEnum):
    """What is asked of an authority's revocation lists.

    ``REQUIRE``: a fresh list of every issuer in the path, or the certificate is refused. ``PREFER``: what a list there
    is says holds, and a missing or stale one is overlooked. ``OFF``: lists are not looked at.
    """

    REQUIRE = "require"
    PREFER = "prefer"
    OFF = "off"


@attrs.frozen(kw_only=True)
class Authority:
    """An authority that partners' certificates may come from.

    :ivar name: how the site calls it, unique.
    :ivar certificates: its certificates as PEM, one or more; a path has to reach one of them.
    :ivar revocation: what is asked of its revocation lists and those of the intermediate authorities below it.
    :ivar grace_hours: how long after its promised next update a list is still good for an answer.
    """

    name: str = attrs.field(metadata=kind(NAME))
    certificates: str = attrs.field(repr=False, metadata=kind(Pem(label=_CERTIFICATE, most=1_000)))
    revocation: RevocationMode = attrs.field(default=RevocationMode.REQUIRE, metadata=kind(Member(RevocationMode)))
    grace_hours: int = attrs.field(
        default=limits.REVOCATION_GRACE.default, metadata=kind(Whole(limits.REVOCATION_GRACE))
    )

    @functools.cached_property
    def anchors(self) -> frozenset[str]:
        """The SHA-256 of each of its certificates, in hex."""
        return frozenset(pem.sha256(der) for der in pem.blocks(self.certificates, _CERTIFICATE))


@attrs.frozen(kw_only=True)
class ServerIdentity:
    """A certificate and key that the server shows to partners.

    :ivar certificate: the chain as PEM, the leaf first.
    :ivar key: the private key as PEM (PKCS#8, not encrypted).
    """

    name: str = attrs.field(metadata=kind(NAME))
    certificate: str = attrs.field(repr=False, metadata=kind(Pem(label=_CERTIFICATE, most=20)))
    key: str = attrs.field(repr=masked, metadata=kind(Pem(label="PRIVATE KEY", most=1)))
