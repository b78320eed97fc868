"""What the client's supervisor and its workers say to each other, beside what all daemons' do.

One AMP command a class, as in :mod:`smartproxy.workers.words`. A worker can ask for nothing but a call to a configured
partner: there is no word with which it could ask for the token, a certificate, the configuration of the server, a
listener or another worker's session.
"""

from typing import ClassVar, Final

from smartproxy.client.wanted_calls import CallDenied
from smartproxy.oftp2.roles import Profile
from smartproxy.policy import limits
from smartproxy.policy.causes import Cause
from smartproxy.relay.openings import Way
from smartproxy.tunnel.bond import BondValue
from smartproxy.tunnel.boxes import Choice, Number, Octets, PrintableText, Records
from smartproxy.tunnel.control import Directions
from smartproxy.tunnel.faults import OpeningFailed
from smartproxy.tunnel.places import PlacedTicket, WorkerNumbers
from smartproxy.tunnel.vocabulary import OpenInbound, TunnelCommand
from smartproxy.workers.link import Link
from smartproxy.workers.words import ADDRESS, NAME, SENTENCE, SESSION, directions

_PEM_OCTETS_MOST = 60_000
_PIECE_OCTETS = 60_000
_PROXY_IDS_CHARACTERS = 60_000

CALL_SECONDS: Final = float(limits.OPENING.most) + 2 * limits.CALL_PATIENCE_SECONDS
"""How long a worker waits for the supervisor, which knows how long a call may take."""


class Adopt(TunnelCommand):
    """Use this configuration from now on; one object, the client's part of a generation."""

    arguments = [(b"client", Records())]


class KnowServer(TunnelCommand):
    """Where a server is and what is shown to it, for connections made from now on."""

    arguments = [
        (b"server", Number()),
        (b"host", ADDRESS),
        (b"port", Number(65_535)),
        (b"ready", Number()),
        (b"most", Number()),
        (b"certificate", Octets(_PEM_OCTETS_MOST, 0)),
        (b"key", Octets(_PEM_OCTETS_MOST, 0)),
        (b"proxy_ids", PrintableText(_PROXY_IDS_CHARACTERS)),
    ]


class ForgetServer(TunnelCommand):
    """The tunnel to a server is no more, and will not be: its number is never used again."""

    arguments = [(b"server", Number())]


class TunnelIsUp(TunnelCommand):
    """The tunnel to a server is up: keep data connections ready, which prove themselves by its bond if there is one."""

    arguments = [(b"server", Number()), (b"bond", BondValue(optional=True))]


class TunnelIsDown(TunnelCommand):
    """The tunnel to a server is down: end its data connections."""

    arguments = [(b"server", Number()), (b"cause", Choice(Cause)), (b"message", SENTENCE)]


class ServerWorkers(TunnelCommand):
    """These are a server's workers."""

    arguments = [(b"server", Number()), (b"workers", WorkerNumbers())]


class CountConnections(TunnelCommand):
    """How many data connections there are to a server."""

    arguments = [(b"server", Number())]
    response = [(b"count", Number())]


class OpenSession(TunnelCommand):
    """A server wants to open a session, which has a place: attach a data connection and call the station."""

    arguments = [(b"server", Number()), *OpenInbound.arguments]
    errors = {OpeningFailed: b"OPENING_FAILED"}


class TakeCaller(TunnelCommand):
    """The connection of a caller comes with this; ``partner`` is whose port it was, empty for the port for all.

    ``session`` is what comes of it: a worker tells that it is over, also if nothing does.
    """

    arguments = [(b"partner", NAME), (b"session", SESSION)]


class TryOut(TunnelCommand):
    """An operator wants to know how far a call of a partner gets, or of the station where none is named."""

    arguments = [(b"session", SESSION), (b"partner", PrintableText(limits.NAME_CHARACTERS_MOST, optional=True))]


class HearStation(TunnelCommand):
    """Call the station up to its SSRM, though nobody asked: :class:`StationHeard` tells what came of it, and no event.

    ``session`` is what the worker tells to be over when it is done.
    """

    arguments = [(b"session", SESSION)]


class AskCall(TunnelCommand):
    """Have a server call a partner; answered, when it is ready, with the ticket to attach by."""

    arguments = [
        (b"session", SESSION),
        (b"way", Choice(Way)),
        (b"caller", PrintableText(300, optional=True)),
        (b"name", NAME),
        (b"host", PrintableText(300, optional=True)),
        (b"port", Number(65_535, optional=True)),
    ]
    response = [(b"partner", NAME), (b"profile", Choice(Profile)), (b"server", Number()), (b"ticket", PlacedTicket())]
    errors = {CallDenied: b"CALL_DENIED"}


class StationTried(TunnelCommand):
    """The station was called; ``message`` is how that failed, if it did."""

    arguments = [(b"station", Records()), (b"message", PrintableText(2_000, optional=True))]


class StationHeard(TunnelCommand):
    """The same, of a call of which the worker tells no event."""

    arguments = StationTried.arguments


class KeepRecord(TunnelCommand):
    """The packed record of a session that is over; of a long one, the end stands in a field of its own."""

    arguments = [(b"packed", Octets(_PIECE_OCTETS, 0)), (b"rest", Octets(_PIECE_OCTETS, 0))]


def pieces(packed: bytes) -> dict[str, bytes]:
    """The fields of :class:`KeepRecord`."""
    return {"packed": packed[:_PIECE_OCTETS], "rest": packed[_PIECE_OCTETS:]}


class ClientLink(Link):
    """A link between the client's supervisor and a worker."""

    allowed: ClassVar[Directions] = directions(
        supervisor=[
            Adopt,
            KnowServer,
            ForgetServer,
            TunnelIsUp,
            TunnelIsDown,
            ServerWorkers,
            CountConnections,
            OpenSession,
            TakeCaller,
            TryOut,
            HearStation,
        ],
        worker=[AskCall, StationTried, StationHeard, KeepRecord],
    )
