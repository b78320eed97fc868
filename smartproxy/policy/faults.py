"""The faults of this site: everything that ends a session without a violation of the protocol.

Duty: one class for each kind of fault (refused by policy, out of time, a part of this site is missing, a bug), with the
ESID reason code that is sent (RFC 5024 section 5.3.11). The ``rule`` of these faults is a
:class:`~smartproxy.policy.causes.Cause`; the step at which a call failed is an enumeration. Never carries a peer's
octets, because faults are logged.
"""

import enum
from typing import ClassVar, Self

import attrs

from smartproxy.oftp2.errors import EsidReason, SessionFault
from smartproxy.policy.causes import Cause
from smartproxy.policy.outcomes import Participant


class Step(enum.StrEnum):
    """The steps of a call to a partner at which it can fail, in their order; the value is its code.

    :ivar label: the step's name for people.
    """

    label: str

    def __new__(cls, code: str, label: str) -> Self:
        """Keep the label beside the code."""
        made = str.__new__(cls, code)
        made._value_ = code
        made.label = label
        return made

    POLICY = "policy", "policy"
    """The check that the partner may be called."""
    SOURCE = "source", "source"
    """The server's address that the partner is called from."""
    NAME = "name", "name"
    """The look-up of the partner's host."""
    CONNECT = "connect", "connect"
    """The connection."""
    TLS = "tls", "TLS"
    """The handshake, and the check of the partner's certificate."""
    SSRM = "ssrm", "SSRM"
    """The partner's greeting, at which a test call ends."""

    def wording(self, message: str) -> str:
        """A message about the step, with its name in front."""
        return f"{self.label}: {message}"

    def worded(self, wording: str) -> str:
        """The message in a wording, without the step's name in front."""
        return wording.removeprefix(self.wording(""))

    @property
    def cause(self) -> Cause:
        """The general cause of a call that failed at this step."""
        return Cause(f"call.{self.value}")


class PolicyRefusal(SessionFault):
    """Correct protocol that this site's policy does not accept."""

    reason = EsidReason.RESOURCES_NOT_AVAILABLE


class UnknownIdentity(PolicyRefusal):
    """The SSIDCODE is not assigned to any partner of this site."""

    reason = EsidReason.USER_CODE_NOT_KNOWN


class IdentityMismatch(PolicyRefusal):
    """The SSIDCODE is assigned to another partner than the one that the certificate identifies."""

    reason = EsidReason.USER_CODE_NOT_KNOWN


class LevelTooLow(PolicyRefusal):
    """A release level is below the lowest that the partner's entry allows, whichever side lowered it."""

    reason = EsidReason.MODE_OR_CAPABILITIES_INCOMPATIBLE


class AuthenticationRefused(PolicyRefusal):
    """SSIDAUTH is not what the partner's entry requires."""

    reason = EsidReason.SECURE_AUTHENTICATION_INCOMPATIBLE


class FileCodeRefused(PolicyRefusal):
    """A file's originator or destination is not one that the partner's entry allows."""

    reason = EsidReason.COMMAND_CONTAINED_INVALID_DATA


class QuotaExceeded(PolicyRefusal):
    """A limit on the number of sessions is reached."""


class Expired(SessionFault):
    """A deadline passed; ``rule`` is ``deadline.`` and its name in the configuration."""

    reason = EsidReason.TIME_OUT


class OwnFault(SessionFault):
    """A part of this site that the session needs is not available.

    :cvar ended_by: who began the end; ``None`` if the daemon that has the fault did.
    """

    ended_by: ClassVar[Participant | None] = None
    reason = EsidReason.RESOURCES_NOT_AVAILABLE


class StationUnreachable(OwnFault):
    """The station cannot be reached or did not greet in time."""

    ended_by = Participant.STATION


@attrs.define(kw_only=True, eq=False, auto_exc=True, str=False)
class PartnerUnreachable(OwnFault):
    """A call to a partner failed: it may not be called, cannot be reached, or its certificate or SSID is refused.

    :ivar step: the step at which the call failed; ``rule`` is the step's :attr:`Step.cause`.
    :ivar cause: the most specific cause that is known, such as ``certificate.expired``.
    """

    ended_by = Participant.PARTNER

    step: Step
    cause: Cause

    @classmethod
    def at(cls, step: Step, message: str, cause: Cause | None = None) -> Self:
        """Make the fault of a call that failed at a step.

        :param message: half a sentence of our own; goes to the station.
        :param cause: the specific cause, if it is known.
        """
        return cls(rule=step.cause, message=step.wording(message), step=step, cause=cause or step.cause)


class TunnelLost(OwnFault):
    """The tunnel between server and client is down."""

    ended_by = Participant.NOBODY


class Unlicensed(OwnFault):
    """The licence does not allow a new session."""


class LegLost(OwnFault):
    """The connection to the session's other side was lost."""

    reason = EsidReason.UNSPECIFIED_ABORT


class TooCostly(OwnFault):
    """The partner's octets took far more CPU time than those of an honest session."""

    ended_by = Participant.SERVER


class Draining(OwnFault):
    """The daemon is stopping."""

    reason = EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN


class Killed(Draining):
    """An operator ended the session."""

    ended_by = Participant.OPERATOR


class ClosedByClient(Draining):
    """The client asked the server to end the session."""

    ended_by = Participant.CLIENT


class Withdrawn(OwnFault):
    """The partner lost its access: its certificate was revoked, or its entry was removed or disabled."""

    ended_by = Participant.SERVER
    reason = EsidReason.UNSPECIFIED_ABORT


class InternalError(SessionFault):
    """A bug in SmartProxy: counted, reported, never swallowed."""


@attrs.frozen
class StopReason:
    """Why a daemon stops.

    :ivar cause: as a code.
    :ivar message: for people: the signal, or what happened.
    :ivar status: the exit status of the process.
    """

    cause: Cause = Cause.DAEMON_STOPPING
    message: str = "asked to stop"
    status: int = 0
