"""The faults of this site: what ends a session without anybody having broken the protocol.

Duty: say whose affair it is by the class (refused by policy, out of time, something of ours is missing, a bug); each
class carries the ESID reason code that is told (RFC 5024 section 5.3.11). Trusts nobody; never carries a peer's octets,
because faults are logged.
"""

from smartproxy.oftp2.errors import EsidReason, SessionFault


class Refusal(SessionFault):
    """Correct protocol that this site's policy does not accept."""

    reason = EsidReason.RESOURCES_NOT_AVAILABLE


class UnknownIdentity(Refusal):
    """The SSIDCODE belongs to no partner of this site."""

    reason = EsidReason.USER_CODE_NOT_KNOWN


class IdentityMismatch(Refusal):
    """The SSIDCODE is not one that the partner proved by the certificate may use."""

    reason = EsidReason.USER_CODE_NOT_KNOWN


class LevelTooLow(Refusal):
    """The release level offered is below the lowest that the partner's entry allows."""

    reason = EsidReason.MODE_OR_CAPABILITIES_INCOMPATIBLE


class AuthenticationRefused(Refusal):
    """SSIDAUTH is not what the partner's entry requires."""

    reason = EsidReason.SECURE_AUTHENTICATION_INCOMPATIBLE


class QuotaExceeded(Refusal):
    """A limit on the number of sessions is reached."""


class Expired(SessionFault):
    """An absolute deadline passed; ``rule`` is ``deadline.`` and the timer's name."""

    reason = EsidReason.TIME_OUT


class OwnFault(SessionFault):
    """Something on our side of the session is not there."""

    reason = EsidReason.RESOURCES_NOT_AVAILABLE


class StationUnreachable(OwnFault):
    """The station cannot be reached or did not greet in time."""


class PartnerUnreachable(OwnFault):
    """The partner that the station wants cannot be called, or is not who he should be, or did not greet in time."""


class TunnelLost(OwnFault):
    """The tunnel between server and client is down."""


class Unlicensed(OwnFault):
    """The licence does not allow a new session."""


class LegLost(OwnFault):
    """The connection of the session's other side is gone."""

    reason = EsidReason.UNSPECIFIED_ABORT


class Draining(OwnFault):
    """The daemon is about to stop."""

    reason = EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN


class Withdrawn(OwnFault):
    """The partner may not have sessions any more: his certificate was revoked, or his entry removed or disabled."""

    reason = EsidReason.UNSPECIFIED_ABORT


class InternalError(SessionFault):
    """A bug of ours: counted, reported, never swallowed."""
