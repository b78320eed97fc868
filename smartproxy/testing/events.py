"""What an entity of the test kit reports while it works.

Each event is a plain value; :func:`as_dict` gives the form in which the commands ``station`` and ``partner`` print it.
"""

import enum
from typing import Any

import attrs

from smartproxy.oftp2.errors import EsidReason
from smartproxy.testing.virtual_file import FileIdentity, Format


class By(enum.Enum):
    """Who ended a session."""

    US = "us"
    PEER = "peer"


class EndResponse(enum.Enum):
    """The two end responses (RFC 5024 sections 4.3.6, 4.3.7)."""

    EERP = "EERP"
    NERP = "NERP"


@attrs.frozen(kw_only=True)
class SessionStarted:
    """Both SSIDs, and the authentication if there is one, are exchanged.

    :ivar peer_code: the peer's SSIDCODE.
    """

    peer_code: str
    level: int
    buffer_size: int
    credit: int
    compression: bool
    restart: bool
    authentication: bool


@attrs.frozen(kw_only=True)
class FileStarted:
    """SFID was answered with SFPA: data may flow.

    :ivar sending: whether the file is ours.
    :ivar from_position: the restart position.
    """

    identity: FileIdentity
    sending: bool
    from_position: int


@attrs.frozen(kw_only=True)
class FileSent:
    """The peer answered EFID with EFPA.

    :ivar octets: the length of the file's content; ``from_position`` says where a restarted transfer began.
    """

    identity: FileIdentity
    format: Format
    octets: int
    sha256: str
    from_position: int


@attrs.frozen(kw_only=True)
class FileRefused:
    """A file of ours was refused by the peer (SFNA, EFNA), or a file of the peer's by us.

    :ivar by: who refused it.
    :ivar command: ``SFNA`` or ``EFNA``.
    """

    identity: FileIdentity
    by: By
    command: str
    reason: int
    text: str
    retry: bool


@attrs.frozen(kw_only=True)
class FileReceived:
    """A file arrived whole and was answered with EFPA."""

    identity: FileIdentity
    format: Format
    octets: int
    sha256: str
    from_position: int
    path: str | None


@attrs.frozen(kw_only=True)
class FileBroken:
    """The connection ended, or was broken off as asked, in the middle of a file.

    :ivar sending: whether the file is ours.
    :ivar position: how far it came, in records (F, V) or whole blocks of 1024 octets (U, T).
    :ivar octets: how far it came, in octets transferred.
    """

    identity: FileIdentity
    sending: bool
    position: int
    octets: int


@attrs.frozen(kw_only=True)
class EndResponseReceived:
    """The peer sent the end response of a file of ours."""

    identity: FileIdentity
    kind: EndResponse
    reason: int
    text: str


@attrs.frozen(kw_only=True)
class EndResponseSent:
    """The peer took our end response of a file of its (RTR)."""

    identity: FileIdentity
    kind: EndResponse


@attrs.frozen(kw_only=True)
class Progress:
    """How much of a file has been sent or received; reported now and then, not for each buffer."""

    identity: FileIdentity
    sending: bool
    octets: int
    total: int


@attrs.frozen(kw_only=True)
class SessionOver:
    """An ESID was sent or received, or the connection was lost without one (``reason`` is then ``None``)."""

    by: By
    reason: EsidReason | None
    text: str


Event = (
    SessionStarted
    | FileStarted
    | FileSent
    | FileRefused
    | FileReceived
    | FileBroken
    | EndResponseReceived
    | EndResponseSent
    | Progress
    | SessionOver
)


def unobserved(_event: Event) -> None:
    """Observe nothing."""


def as_dict(event: attrs.AttrsInstance) -> dict[str, Any]:
    """An event as plain values, the name of its class first."""

    def plain(_instance: object, _attribute: object, value: object) -> object:
        return value.value if isinstance(value, enum.Enum) else value

    return {"event": type(event).__name__, **attrs.asdict(event, value_serializer=plain)}
