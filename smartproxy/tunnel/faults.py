"""What can go wrong in the tunnel, and how the fault of a session crosses it.

Duty: the errors that one daemon tells the other, as AMP errors; the violation that ends a tunnel and is never told to
the peer; and the table by which a fault of a session keeps its class, its rule and, for a call, its step and cause on
the way to the other daemon. Their messages are for the operator and hold nothing that a partner sent. Trusts nothing
that it reads: a code that does not look like one is a ``ValueError``, which ends the tunnel. A code that looks like one
and is not known here comes from a newer version and has a fallback: a class of fault becomes :class:`OwnFault`, a cause
:attr:`Cause.TUNNEL_UNKNOWN_CAUSE`, a step :attr:`Step.CONNECT`; the message stays what it was.
"""

import re
from collections.abc import Mapping
from typing import Final, Self

import attrs

from smartproxy.logs.emit import Events
from smartproxy.oftp2.errors import SessionFault
from smartproxy.policy import faults
from smartproxy.policy.causes import Cause
from smartproxy.policy.faults import OwnFault, PartnerUnreachable, StationUnreachable, Step

_CODE = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", re.ASCII)
CODE_CHARACTERS_MOST: Final = 64

_CLASSES: Final[Mapping[str, type[SessionFault]]] = {
    "refusal": faults.PolicyRefusal,
    "unknown_identity": faults.UnknownIdentity,
    "identity_mismatch": faults.IdentityMismatch,
    "level_too_low": faults.LevelTooLow,
    "authentication_refused": faults.AuthenticationRefused,
    "file_code_refused": faults.FileCodeRefused,
    "quota_exceeded": faults.QuotaExceeded,
    "expired": faults.Expired,
    "own_fault": OwnFault,
    "station_unreachable": StationUnreachable,
    "partner_unreachable": PartnerUnreachable,
    "tunnel_lost": faults.TunnelLost,
    "unlicensed": faults.Unlicensed,
    "leg_lost": faults.LegLost,
    "draining": faults.Draining,
    "killed": faults.Killed,
    "too_costly": faults.TooCostly,
    "closed_by_client": faults.ClosedByClient,
    "withdrawn": faults.Withdrawn,
    "internal_error": faults.InternalError,
}
"""The classes of faults that one daemon tells the other, by their codes on the wire."""
_CODES: Final = {kind: code for code, kind in _CLASSES.items()}


class TunnelFault(Exception):
    """Base of the errors that one daemon tells the other; the first argument is one sentence for the operator."""

    def fields(self) -> dict[bytes, bytes]:
        """The fields that are told beside the sentence, by AMP's keys."""
        return {}

    @classmethod
    def read(cls, message: str, fields: Mapping[bytes, bytes]) -> Self:
        """The error that the other daemon told.

        :raises ValueError: if the fields are not those of this kind.
        """
        return cls(message)


class QuestionFailed(TunnelFault):
    """The other daemon could not do what it was asked, for a reason that it keeps in its own log."""


class QuestionExpired(TunnelFault):
    """The other daemon did not answer in time."""


class NotNow(TunnelFault):
    """The question is not allowed in this phase of the tunnel, by the direction table."""


class VersionsIncompatible(TunnelFault):
    """The two daemons cannot work together; the message names both versions and what to update."""


class NameTaken(TunnelFault):
    """A client of this name is connected already and answers."""


class ConfigurationDeclined(TunnelFault):
    """The server does not take this generation; the one before stays in force."""


class OpeningFailed(TunnelFault):
    """The far daemon could not open its side of a session.

    Travels as the fields ``fault`` (the class), ``rule`` and, for :class:`PartnerUnreachable`, ``step`` and ``cause``,
    beside the message.

    :ivar fault: why, as the far daemon raised it.
    """

    def __init__(self, fault: SessionFault) -> None:
        super().__init__(fault.message)
        self.fault = fault

    def fields(self) -> dict[bytes, bytes]:
        """The fault's class and codes; a broken rule of the protocol is not told to the asker."""
        kind = next((each for each in type(self.fault).__mro__ if each in _CODES), None)
        if kind is None:
            return {b"fault": b"station_unreachable", b"rule": Cause.OPENING_VIOLATION.encode("ascii")}
        told = {b"fault": _CODES[kind].encode("ascii"), b"rule": self.fault.rule.encode("ascii")}
        if isinstance(self.fault, PartnerUnreachable):
            told |= {b"step": self.fault.step.encode("ascii"), b"cause": self.fault.cause.encode("ascii")}
        return told

    @classmethod
    def read(cls, message: str, fields: Mapping[bytes, bytes]) -> Self:
        """The fault that the far daemon raised.

        :raises ValueError: when a field is missing or is not a code.
        """
        kind = _CLASSES.get(_read(fields, b"fault"), OwnFault)
        rule = cause_of(_read(fields, b"rule"))
        if kind is not PartnerUnreachable:
            return cls(kind(rule=rule, message=message))
        step, cause = _read(fields, b"step"), cause_of(_read(fields, b"cause"))
        known = next((each for each in Step if each == step), Step.CONNECT)
        return cls(PartnerUnreachable(rule=rule, message=message, step=known, cause=cause))


@attrs.frozen
class Closing:
    """Why a connection of the tunnel ends.

    :ivar cause: as a code.
    :ivar message: one sentence for people.
    """

    cause: Cause
    message: str

    def __str__(self) -> str:
        return self.message


@attrs.frozen
class Violation(Exception):
    """The peer broke a rule of the tunnel.

    :ivar cause: which rule.
    :ivar detail: one sentence; peer text in it is quoted.
    :ivar command: the name of the command it was about, from our own vocabulary.
    """

    cause: Cause
    detail: str
    command: str | None = None

    @property
    def closing(self) -> Closing:
        """Why the connection ends, without the peer's text."""
        return Closing(Cause.TUNNEL_VIOLATION, f"violation: {self.cause}")

    def tell(self, events: Events, **about: object) -> None:
        """Report it, with fields that say whose connection it was."""
        events.emit("tunnel.violation", cause=self.cause, message=self.cause.meaning, detail=self.detail, **about)

    def __str__(self) -> str:
        return f"{self.detail} [{self.cause}]"


def is_code(text: str) -> bool:
    """Whether *text* looks like a code, known or not."""
    return len(text) <= CODE_CHARACTERS_MOST and _CODE.fullmatch(text) is not None


def cause_of(code: str) -> Cause:
    """The cause that a code of the other daemon names."""
    return next((cause for cause in Cause if cause == code), Cause.TUNNEL_UNKNOWN_CAUSE)


def _read(fields: Mapping[bytes, bytes], key: bytes) -> str:
    code = fields.get(key, b"").decode("ascii")
    if not is_code(code):
        raise ValueError(f"{key.decode()} is not a code")
    return code
