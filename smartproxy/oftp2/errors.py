"""How the remote program can break the protocol, and which departures from it are let pass.

Violations are one tree of exceptions. Each class carries the ESID reason code that the offender is told (RFC 5024
section 5.3.11), so that no other table maps errors to codes. An error names places and rules; it never carries octets
of the peer, because errors are logged.

Anomalies are the departures from the RFC that living programs are known for: the default profile lets exactly these
pass and records each; the strict profile refuses them (6 and 25 are recorded in both: they are the receiving station's
to judge). What is relayed is never repaired.
"""

import enum
from collections.abc import Mapping
from typing import ClassVar, Final

import attrs

from smartproxy.oftp2.roles import Role


class EsidReason(enum.IntEnum):
    """ESIDREAS (RFC 5024 section 5.3.11)."""

    NORMAL = 0
    COMMAND_NOT_RECOGNISED = 1
    PROTOCOL_VIOLATION = 2
    USER_CODE_NOT_KNOWN = 3
    INVALID_PASSWORD = 4
    LOCAL_SITE_EMERGENCY_CLOSE_DOWN = 5
    COMMAND_CONTAINED_INVALID_DATA = 6
    EXCHANGE_BUFFER_SIZE_ERROR = 7
    RESOURCES_NOT_AVAILABLE = 8
    TIME_OUT = 9
    MODE_OR_CAPABILITIES_INCOMPATIBLE = 10
    INVALID_CHALLENGE_RESPONSE = 11
    SECURE_AUTHENTICATION_INCOMPATIBLE = 12
    UNSPECIFIED_ABORT = 99

    @property
    def label(self) -> str:
        """How an event tells that it was sent, such as ``ESID 03``."""
        return f"ESID {self:02d}"

    @property
    def phrase(self) -> str:
        """The fixed text sent as ESIDREAST: it says no more than the code does, whatever the cause was."""
        return _PHRASES[self]


_PHRASES = {
    EsidReason.NORMAL: "",
    EsidReason.COMMAND_NOT_RECOGNISED: "Command not recognised",
    EsidReason.PROTOCOL_VIOLATION: "Protocol violation",
    EsidReason.USER_CODE_NOT_KNOWN: "User code not known",
    EsidReason.INVALID_PASSWORD: "Invalid password",
    EsidReason.LOCAL_SITE_EMERGENCY_CLOSE_DOWN: "Local site emergency close down",
    EsidReason.COMMAND_CONTAINED_INVALID_DATA: "Command contained invalid data",
    EsidReason.EXCHANGE_BUFFER_SIZE_ERROR: "Exchange Buffer size error",
    EsidReason.RESOURCES_NOT_AVAILABLE: "Resources not available",
    EsidReason.TIME_OUT: "Time out",
    EsidReason.MODE_OR_CAPABILITIES_INCOMPATIBLE: "Mode or capabilities incompatible",
    EsidReason.INVALID_CHALLENGE_RESPONSE: "Invalid challenge response",
    EsidReason.SECURE_AUTHENTICATION_INCOMPATIBLE: "Secure authentication requirements incompatible",
    EsidReason.UNSPECIFIED_ABORT: "Session aborted",
}


@attrs.define(kw_only=True, eq=False, auto_exc=True, str=False)
class SessionFault(Exception):
    """Base of all that ends a session early; never raised itself.

    :ivar rule: the stable, dotted name of the rule that was broken, such as ``field.range`` or ``state.command``.
    :ivar message: one sentence for the operator; contains no octet that a peer sent.
    """

    reason: ClassVar[EsidReason] = EsidReason.UNSPECIFIED_ABORT

    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.message} [{self.rule}]"


@attrs.define(kw_only=True, eq=False, auto_exc=True, str=False)
class ProtocolError(SessionFault):
    """The remote program broke a rule of the protocol.

    :ivar section: the section of RFC 5024 that holds the rule, such as ``5.3.2``.
    :ivar command: the command's name (``SSID``), or ``None`` before the command is known.
    :ivar field: the field's RFC name (``SSIDLEV``), or ``None`` where the rule is not about one.
    :ivar offset: the position, within the offending Stream Transmission Buffer (header included, from 0), of the octet
        that made it wrong; ``None`` from functions that see no octets.
    :ivar sender: whose octets they were; filled in by the monitor.
    :ivar state: the name of the monitor's state; filled in by the monitor.
    :ivar position: octets of this direction before the offending Stream Transmission Buffer; filled in by the monitor.
    """

    reason: ClassVar[EsidReason] = EsidReason.PROTOCOL_VIOLATION

    section: str
    command: str | None = None
    field: str | None = None
    offset: int | None = None
    sender: Role | None = None
    state: str | None = None
    position: int | None = None


class StreamHeaderError(ProtocolError):
    """Version or flags of a Stream Transmission Header are not those of RFC 5024 section 8.2."""

    reason = EsidReason.COMMAND_NOT_RECOGNISED


class UnknownCommand(ProtocolError):
    """The first octet of an Exchange Buffer names no command of the agreed release level (section 5.3)."""

    reason = EsidReason.COMMAND_NOT_RECOGNISED


class UnexpectedCommand(ProtocolError):
    """A command that this sender may not send in this state (section 9)."""


class CreditExceeded(ProtocolError):
    """DATA without credit, or credit given that was not used up (sections 4.4.1, 5.3.7)."""


class RestartRefused(ProtocolError):
    """A restart position that was not agreed or lies behind the offered one (sections 5.3.3, 5.3.4)."""


class CompressionRefused(ProtocolError):
    """A compressed subrecord although compression was not agreed (sections 5.3.2, 7.3)."""


class BadField(ProtocolError):
    """A field's octets are outside its format or values (section 5.3)."""

    reason = EsidReason.COMMAND_CONTAINED_INVALID_DATA


class BadSubrecord(ProtocolError):
    """The subrecords of a DATA buffer do not end where the buffer ends (section 7.3)."""

    reason = EsidReason.COMMAND_CONTAINED_INVALID_DATA


class BadLength(ProtocolError):
    """A length outside what the header, the command or the agreed buffer size allows (sections 5.3.2, 8.2)."""

    reason = EsidReason.EXCHANGE_BUFFER_SIZE_ERROR


class Incompatible(ProtocolError):
    """The two SSIDs cannot be brought together (section 5.3.2)."""

    reason = EsidReason.MODE_OR_CAPABILITIES_INCOMPATIBLE


class AuthenticationMismatch(ProtocolError):
    """The two SSIDs disagree on secure authentication (sections 4.2.4, 5.3.2)."""

    reason = EsidReason.SECURE_AUTHENTICATION_INCOMPATIBLE


@attrs.frozen(kw_only=True)
class Anomaly:
    """A departure from the RFC that living programs are known for and that was let pass.

    :ivar number: its number in the list of tolerated departures.
    :ivar rule: the rule that the strict profile would have refused it by.
    :ivar section: of RFC 5024.
    :ivar text: what it is, for the operator.
    :ivar command: the command's name.
    :ivar field: the field's name, if it is about one.
    """

    number: int
    rule: str
    section: str
    text: str
    command: str
    field: str | None = None


ANOMALIES: Final[Mapping[int, str]] = {
    2: "the carriage return is 0A",
    3: "Data Exchange Buffers are one octet longer than agreed",
    4: "ESID with reason 00 where the session cannot end normally",
    6: "the last record of the file has no end-of-record flag",
    8: "the dataset name has octets outside the RFC's set",
    9: "the time stamp's counter is 0000",
    11: "CDT without its reserved octets",
    14: "a hash in an end response without signature",
    15: "an end response without hash and signature lengths",
    18: "ESID in the layout of another release level",
    21: "an identification code that does not have the form of section 5.4",
    24: "special logic offered over TCP",
    25: "the counts of EFID are not those of what was sent",
    26: "SSIDPSWD or SSIDUSER has printable octets outside the RFC's set, such as lower case letters",
    27: "a text is not UTF-8, but has another character set, such as Latin-1",
}


def note(number: int, rule: str, section: str, command: str, field: str | None = None) -> Anomaly:
    """Make the record of a tolerated departure."""
    return Anomaly(number=number, rule=rule, section=section, text=ANOMALIES[number], command=command, field=field)
