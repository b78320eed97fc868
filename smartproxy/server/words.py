"""What the server's supervisor and its workers say to each other, beside what every daemon's do.

A worker asks for nothing that it was not given: places, openings and penalties are for connections that it has. Every
field is bounded; see :mod:`smartproxy.workers.words`.
"""

from collections.abc import Mapping
from typing import Self

from smartproxy.net.tls.openssl import SECRET_OCTETS
from smartproxy.policy.admission import Denied
from smartproxy.policy.causes import Cause
from smartproxy.policy.penalties import Fault
from smartproxy.tunnel.bond import BOND_NAME_OCTETS
from smartproxy.tunnel.boxes import Choice, Code, Number, Octets
from smartproxy.tunnel.faults import OpeningFailed, TunnelFault
from smartproxy.tunnel.places import PlacedTicket
from smartproxy.tunnel.vocabulary import FACTS, WISH, SeenCrlUrl, TunnelCommand
from smartproxy.workers.link import Link
from smartproxy.workers.words import ADDRESS, NAME, SENTENCE, SESSION, directions

_CODE = Code()
_VALUE = Number()
_VISIT = Number()
_MILLISECONDS = Number(3_600_000)
_TIME_MOST = 2**40
SUBJECT_OCTETS_MOST = 2_000


class NoPlace(TunnelFault):
    """A limit is reached.

    :ivar denied: which one.
    """

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.message)
        self.denied = denied

    def fields(self) -> dict[bytes, bytes]:
        """The rule, the limit's name and its value."""
        denied = self.denied
        return {
            b"rule": denied.rule.encode("ascii"),
            b"limit": denied.limit.encode("ascii"),
            b"value": b"%d" % denied.value,
        }

    @classmethod
    def read(cls, message: str, fields: Mapping[bytes, bytes]) -> Self:
        """The refusal as the supervisor made it.

        :raises ValueError: when a field is missing or is not what it has to be.
        """
        rule, limit = (_CODE.fromString(fields.get(name, b"")) for name in (b"rule", b"limit"))
        return cls(Denied(rule=rule, message=message, limit=limit, value=_VALUE.fromString(fields.get(b"value", b""))))


# The supervisor's.


class PutInForce(TunnelCommand):
    """A generation; its document is in the memory file that comes along."""

    arguments = [(b"generation", Number())]


class Forget(TunnelCommand):
    """Drop configuration and keys."""


class PartnerCame(TunnelCommand):
    """A partner's connection, of which nothing was read; ``age`` is since it was accepted, in milliseconds."""

    arguments = [
        (b"visit", _VISIT),
        (b"host", ADDRESS),
        (b"port", Number(65_535)),
        (b"known", Number(1)),
        (b"age", _MILLISECONDS),
    ]


class DataCame(TunnelCommand):
    """A data connection of the tunnel, whose first octets named this worker, and whether its address is known."""

    arguments = [(b"host", ADDRESS), (b"port", Number(65_535)), (b"known", Number(1))]


class Displaced(TunnelCommand):
    """A connection's place is given to another one: close it."""

    arguments = [(b"visit", _VISIT)]


class ClientCame(TunnelCommand):
    """A client has a control connection, which showed a certificate that is good from ``since`` until ``until``.

    These are seconds since 1970. ``key`` is that of the client's data connections to this worker, if there is a bond.
    Certificates of the client that are good from ``withdrawn`` or an earlier time on count no more. It is said again
    when another licence is in force.
    """

    arguments = [
        (b"client", NAME),
        (b"since", Number(_TIME_MOST)),
        (b"until", Number(_TIME_MOST)),
        (b"subject", Octets(SUBJECT_OCTETS_MOST, 0)),
        (b"withdrawn", Number(_TIME_MOST, optional=True)),
        (b"bond", Octets(BOND_NAME_OCTETS, optional=True)),
        (b"key", Octets(SECRET_OCTETS, optional=True)),
    ]


class BondOver(TunnelCommand):
    """A control connection is over, and its bond with it."""

    arguments = [(b"bond", Octets(BOND_NAME_OCTETS))]


class ClientWent(TunnelCommand):
    """A client's last control connection is over; its data connections end."""

    arguments = [(b"client", NAME), (b"cause", Choice(Cause)), (b"message", SENTENCE)]


class CallPartner(TunnelCommand):
    """Call a partner for the station; answered, when the partner is ready, with the ticket to attach by."""

    arguments = [(b"session", SESSION), (b"client", NAME), (b"partner", NAME), (b"deadline", Number()), *WISH]
    response = [(b"ticket", PlacedTicket())]
    errors = {OpeningFailed: b"OPENING_FAILED"}


# The worker's.


class Spoke(TunnelCommand):
    """A connection is in the handshake."""

    arguments = [(b"visit", _VISIT)]


class Left(TunnelCommand):
    """A connection is over."""

    arguments = [(b"visit", _VISIT)]


class Prove(TunnelCommand):
    """A connection's peer is this partner; answered when it counts as a session."""

    arguments = [(b"visit", _VISIT), (b"partner", NAME)]
    errors = {NoPlace: b"NO_PLACE"}


class Blame(TunnelCommand):
    """A fault of an address that the worker has, or had, a connection of."""

    arguments = [(b"host", ADDRESS), (b"fault", Choice(Fault))]


class Assign(TunnelCommand):
    """Which client carries a session, and how many seconds its opening may take."""

    arguments = [(b"session", SESSION)]
    response = [(b"client", NAME), (b"seconds", Number(3_600))]
    errors = {OpeningFailed: b"OPENING_FAILED"}


class OpenInside(TunnelCommand):
    """Have the client that carries a session open its side; answered when the station is ready."""

    arguments = [(b"session", SESSION), (b"ticket", PlacedTicket()), *FACTS]
    errors = {OpeningFailed: b"OPENING_FAILED"}


class BeginCall(TunnelCommand):
    """A place for a call that the supervisor asked for."""

    arguments = [(b"partner", NAME)]
    errors = {NoPlace: b"NO_PLACE"}


class EndCall(TunnelCommand):
    """Give such a place back; the partner's fault in the session, if there was one."""

    arguments = [(b"partner", NAME), (b"fault", Choice(Fault, optional=True))]


class DataProved(TunnelCommand):
    """A data connection that the worker was handed proved its client: the address is known from now on."""

    arguments = [(b"host", ADDRESS)]


class SourceGone(TunnelCommand):
    """This host does not have the address that a partner is called from."""

    arguments = [(b"address", ADDRESS), (b"partner", NAME)]


class ServerLink(Link):
    """Which words the server's supervisor and its workers may say to each other."""

    allowed = directions(
        supervisor=[
            PutInForce,
            Forget,
            PartnerCame,
            DataCame,
            Displaced,
            ClientCame,
            BondOver,
            ClientWent,
            CallPartner,
        ],
        worker=[
            Spoke,
            Left,
            Prove,
            Blame,
            Assign,
            OpenInside,
            SeenCrlUrl,
            BeginCall,
            EndCall,
            DataProved,
            SourceGone,
        ],
    )
