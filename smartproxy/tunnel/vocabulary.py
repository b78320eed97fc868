"""The commands of the control connection, and which side may ask which in which phase.

One AMP command a class, one table of directions. What the table does not list is forbidden; there is no command with
which the server could ask for keys, tokens or files, and none that changes the transport (AMP's StartTLS is not here).
Every field is bounded. A code that only explains (a state of a
generation, the codes of :class:`OpeningFailed`) may come from a newer version and has a fallback; one by which a
session is treated (profile, release level, way) may not, since both daemons agreed on the protocol in Hello.

Hello: each side says its version and the protocols that it speaks (:mod:`smartproxy.policy.versions`); both refuse with
the same sentence when they have none in common. The Hello command itself never changes.
"""

import enum
from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeAlias

from twisted.protocols.amp import AmpBox, Argument, Command

from smartproxy.logs.severity import Severity
from smartproxy.oftp2.roles import Level, Profile
from smartproxy.policy import limits, loads
from smartproxy.policy.partners import CODE_OCTETS
from smartproxy.relay.openings import PartnerTls, Way
from smartproxy.tunnel.boxes import Choice, ChoiceByName, Number, Octets, PrintableText, Records
from smartproxy.tunnel.chunks import DIGEST_OCTETS
from smartproxy.tunnel.faults import (
    ConfigurationDeclined,
    NameTaken,
    OpeningFailed,
    QuestionFailed,
    TunnelFault,
    VersionsIncompatible,
)
from smartproxy.tunnel.places import PlacedTicket, WorkerNumbers

Fields: TypeAlias = list[tuple[bytes, Argument]]

CONTROL_PROTOCOL: Final = b"smartproxy-control/1"
DATA_PROTOCOL: Final = b"smartproxy-data/1"

_SESSION = PrintableText(16)
_NAME = PrintableText(limits.NAME_CHARACTERS_MOST)
_URL = PrintableText(512)
_VERSION = PrintableText(64)
_ADDRESS_CHARACTERS_MOST = 300
"""A host name has at most 253 characters (RFC 1035 section 2.3.4); a port and brackets stand beside it."""
_SHA256_CHARACTERS = 64
_STORE_CHARACTERS = 16
_CERTIFICATE_OCTETS_MOST = 16 * 1024
_PROOF_OCTETS_MOST = 256

FACTS = [
    (b"peer", PrintableText(_ADDRESS_CHARACTERS_MOST)),
    (b"partner", PrintableText(limits.NAME_CHARACTERS_MOST, optional=True)),
    (b"profile", Choice(Profile)),
    (b"tls", Choice(PartnerTls, optional=True)),
    (b"certificate_sha256", PrintableText(_SHA256_CHARACTERS, optional=True)),
    (b"code", PrintableText(CODE_OCTETS, optional=True)),
    (b"level", Choice(Level, optional=True)),
]
"""The fields of :class:`~smartproxy.relay.openings.SessionFacts`, by their names."""
WISH = [
    (b"way", Choice(Way)),
    (b"caller", PrintableText(_ADDRESS_CHARACTERS_MOST, optional=True)),
    (b"host", PrintableText(_ADDRESS_CHARACTERS_MOST, optional=True)),
    (b"port", Number(65_535, optional=True)),
]
"""The fields of :class:`~smartproxy.relay.openings.CallWish`, by their names."""

LOAD: Fields = [
    (b"cpu", Number(loads.CPU_MOST, optional=True)),
    (b"memory", Number(loads.MEMORY_MOST, optional=True)),
    (b"sessions", Number(loads.SESSIONS_MOST, optional=True)),
    (b"sessions_most", Number(loads.SESSIONS_MOST, optional=True)),
]
"""The fields of :class:`~smartproxy.policy.loads.ToldLoad`, by their names."""


class Side(enum.Enum):
    """An end of the tunnel."""

    SERVER = "server"
    CLIENT = "client"

    @property
    def other(self) -> "Side":
        """The opposite end."""
        return Side.CLIENT if self is Side.SERVER else Side.SERVER


class TunnelPhase(enum.Enum):
    """Where the life of a control connection is."""

    BEFORE_HELLO = "before Hello"
    READY = "ready"
    DRAINING = "draining"


class GenerationState(enum.StrEnum):
    """What became of a chunk of a generation."""

    MORE = "more"
    """It is kept; the next one is due."""
    ACCEPTED = "accepted"
    """It was the last one, and the generation is in force."""
    OLD = "old"
    """The server holds this generation, or a newer one of the same store."""


class TunnelCommand(Command):
    """Base of all commands: a responder's bug is answered with :class:`QuestionFailed` and ends nothing.

    :cvar allErrors: the code on the wire of each error, by class.
    :cvar reverseErrors: the same, by code.
    """

    allErrors: ClassVar[dict[type[TunnelFault], bytes]]
    reverseErrors: ClassVar[dict[bytes, type[TunnelFault]]]
    errors = {QuestionFailed: b"FAILED"}

    @classmethod
    def makeArguments(cls, objects: Mapping[str, Any], proto: object) -> AmpBox:
        """The box of a question.

        :raises ValueError: if a value is not what its field holds.
        """
        return _box(cls.arguments, objects)

    @classmethod
    def makeResponse(cls, objects: Mapping[str, Any], proto: object) -> AmpBox:
        """The box of an answer.

        :raises ValueError: if a value is not what its field holds.
        """
        return _box(cls.response, objects)

    @classmethod
    def parseArguments(cls, box: Mapping[bytes, bytes], protocol: object) -> dict[str, Any]:
        """The values of a question.

        :raises ValueError: if one is not what its field holds.
        :raises KeyError: if one is missing.
        """
        return _values(cls.arguments, box)

    @classmethod
    def parseResponse(cls, box: Mapping[bytes, bytes], protocol: object) -> dict[str, Any]:
        """The values of an answer; raises as :meth:`parseArguments` does."""
        return _values(cls.response, box)


def _box(fields: Fields, objects: Mapping[str, Any]) -> AmpBox:
    """AMP's own way asks three functions, for each field, what it is called in Python."""
    box = AmpBox()
    for name, field in fields:
        value = objects.get(name.decode("ascii"))
        if value is not None or not field.optional:
            box[name] = field.toString(value)
    if len(objects) > len(fields):
        raise TypeError("a value that no field holds")
    return box


def _values(fields: Fields, box: Mapping[bytes, bytes]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, field in fields:
        octets = box.get(name) if field.optional else box[name]
        values[name.decode("ascii")] = None if octets is None else field.fromString(octets)
    return values


class Hello(TunnelCommand):
    """The client says what it is; the answer says what the server is and which generation it holds (0 for none)."""

    arguments = [(b"version", _VERSION), (b"oldest", Number()), (b"newest", Number())]
    response = [(b"version", _VERSION), (b"oldest", Number()), (b"newest", Number()), (b"generation", Number())]
    errors = {VersionsIncompatible: b"VERSIONS", NameTaken: b"NAME_TAKEN"}


class Configure(TunnelCommand):
    """One chunk of a generation; answered with ``more``, ``accepted`` or ``old``, and the generation then held."""

    arguments = [
        (b"generation", Number()),
        (b"store", PrintableText(_STORE_CHARACTERS, optional=True)),
        (b"number", Number()),
        (b"size", Number()),
        (b"digest", Octets(DIGEST_OCTETS)),
        (b"chunk", Octets(limits.CHUNK_OCTETS, 0)),
    ]
    response = [
        (b"state", Choice(GenerationState, GenerationState.OLD)),
        (b"held", Number()),
        (b"store", PrintableText(_STORE_CHARACTERS, optional=True)),
    ]
    errors = {ConfigurationDeclined: b"DECLINED"}


class OpenInbound(TunnelCommand):
    """A partner connected: attach a data connection by this ticket and call the station; answered when it is ready."""

    arguments = [(b"session", _SESSION), (b"ticket", PlacedTicket()), (b"deadline", Number()), *FACTS]
    errors = {OpeningFailed: b"OPENING_FAILED"}


class OpenOutbound(TunnelCommand):
    """The station calls a partner; answered, when the partner is ready, with the ticket to attach by."""

    arguments = [(b"session", _SESSION), (b"partner", _NAME), (b"deadline", Number()), *WISH]
    response = [(b"ticket", PlacedTicket())]
    errors = {OpeningFailed: b"OPENING_FAILED"}


class CloseSession(TunnelCommand):
    """End a session now."""

    arguments = [(b"session", _SESSION)]


class SetLevel(TunnelCommand):
    """Change what the server logs."""

    arguments = [(b"level", ChoiceByName(Severity))]


class Drain(TunnelCommand):
    """The client is about to stop: no new sessions over this tunnel."""


class Workers(TunnelCommand):
    """The server's workers, which data connections are for; none where it is one process."""

    arguments = [(b"workers", WorkerNumbers())]


class Moved(TunnelCommand):
    """A newer process takes over from this one; this connection stays until the sessions that it carries are over.

    Of the server: it listens at the same address; dial it, for this one opens no new sessions from now on. Of the
    client: it is about to dial; take it beside this one, and send new sessions to it from then on.
    """


class Ping(TunnelCommand):
    """Ask for a sign of life; the answer is empty. A server may say its load with it."""

    arguments = LOAD


class Report(TunnelCommand):
    """Events of the server, for the backend."""

    arguments = [(b"events", Records())]


class SeenCrlUrl(TunnelCommand):
    """A verified certificate names the address of a revocation list that is not configured."""

    arguments = [(b"url", _URL), (b"ca", _NAME)]


class Renewed(TunnelCommand):
    """The client has another certificate, in DER, than the one that the control connection showed, and its key."""

    arguments = [
        (b"certificate", Octets(_CERTIFICATE_OCTETS_MOST, 1)),
        (b"proof", Octets(_PROOF_OCTETS_MOST, 1)),
    ]


_CLIENT, _SERVER = Side.CLIENT, Side.SERVER

#: Which commands a side may ask in which phase; absent means forbidden.
ALLOWED: Final[Mapping[tuple[Side, TunnelPhase], frozenset[type[TunnelCommand]]]] = {
    (_CLIENT, TunnelPhase.BEFORE_HELLO): frozenset({Hello}),
    (_CLIENT, TunnelPhase.READY): frozenset(
        {Configure, OpenOutbound, CloseSession, SetLevel, Renewed, Moved, Drain, Ping}
    ),
    (_CLIENT, TunnelPhase.DRAINING): frozenset({CloseSession, Renewed, Ping}),
    (_SERVER, TunnelPhase.BEFORE_HELLO): frozenset(),
    (_SERVER, TunnelPhase.READY): frozenset({OpenInbound, Report, SeenCrlUrl, Workers, Moved, Ping}),
    (_SERVER, TunnelPhase.DRAINING): frozenset({Report, Workers, Ping}),
}

#: Every command by its name on the wire.
COMMANDS: Final[Mapping[bytes, type[TunnelCommand]]] = {
    command.commandName: command for commands in ALLOWED.values() for command in commands
}
