"""Which certificates an authority has taken back.

Duty: say of one certificate what the revocation set of its issuer says, and how old that set is. The sets are prepared
by the backend from signed revocation lists; nothing is fetched or parsed here. A serial number in a set is revoked
however old the set is; only the absence of one needs a fresh set.

RFC 5280 sections 5 and 6.3.
"""

import datetime
import enum

import attrs

from smartproxy.policy import limits
from smartproxy.policy.schema import SHA256, Instant, Optional, Serials, kind


@attrs.frozen(kw_only=True)
class RevocationSet:
    """The serial numbers that one issuer has revoked.

    :ivar issuer_key_sha256: SHA-256 of the issuing authority's SubjectPublicKeyInfo, in hex.
    :ivar this_update: when the authority made the list.
    :ivar next_update: when it promised the next one, if it did.
    :ivar serials: the revoked serial numbers.
    """

    issuer_key_sha256: str = attrs.field(metadata=kind(SHA256, key="issuer"))
    this_update: datetime.datetime = attrs.field(metadata=kind(Instant()))
    next_update: datetime.datetime | None = attrs.field(default=None, metadata=kind(Optional(Instant())))
    serials: frozenset[int] = attrs.field(default=frozenset(), repr=False, metadata=kind(Serials()))

    @property
    def fresh_until(self) -> datetime.datetime:
        """When a newer list has to be there, grace not counted."""
        if self.next_update is not None:
            return self.next_update
        return self.this_update + datetime.timedelta(days=limits.REVOCATION_UNDATED_FRESH_DAYS)


class RevocationStatus(enum.Enum):
    """What a revocation set says of one certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    MISSING = "missing"
    STALE = "stale"
    FUTURE = "future"


def status(
    revocation: RevocationSet | None, serial: int, now: datetime.datetime, grace: datetime.timedelta
) -> RevocationStatus:
    """What *revocation*, the set of the certificate's issuer if there is one, says of *serial*.

    :param grace: how long after the promised next update the set is still good for an answer.
    """
    if revocation is None:
        return RevocationStatus.MISSING
    if serial in revocation.serials:
        return RevocationStatus.REVOKED
    if revocation.this_update > now + datetime.timedelta(seconds=limits.CLOCK_TOLERANCE_SECONDS):
        return RevocationStatus.FUTURE
    if now > revocation.fresh_until + grace:
        return RevocationStatus.STALE
    return RevocationStatus.GOOD
