"""The settings of all daemons that are not about partners: addresses, deadlines, limits, penalties, the station.

Duty: the classes of those parts of the configuration document, and a client's entry in the backend, which is in no
document. Every default and range is in :mod:`~smartproxy.policy.limits`.
"""

import datetime
import enum

import attrs

from smartproxy.oftp2.roles import Profile
from smartproxy.policy import limits
from smartproxy.policy.alerts import EventScript, Mail
from smartproxy.policy.page_access import PageAccess
from smartproxy.policy.schema import ForPeople, ListOf, ObjectOf, Optional, kind, masked
from smartproxy.policy.values import NAME, SHA256, Address, Flag, Instant, Line, Member, Network, Whole
from smartproxy.policy.watching import Watching


@attrs.frozen(kw_only=True)
class Listener:
    """An address and port where the server listens for partners.

    :ivar address: an IPv4 or IPv6 address of the server; ``0.0.0.0`` or ``::`` for all of them.
    :ivar port: the port; 0 for any free one.
    """

    address: str = attrs.field(metadata=kind(Address()))
    port: int = attrs.field(default=limits.LISTENER_PORT.default, metadata=kind(Whole(limits.LISTENER_PORT)))


@attrs.frozen(kw_only=True)
class Deadlines:
    """How long things may take, in seconds; see :mod:`~smartproxy.policy.limits` for what each limits."""

    handshake: int = attrs.field(default=limits.HANDSHAKE.default, metadata=kind(Whole(limits.HANDSHAKE)))
    ssid: int = attrs.field(default=limits.SSID.default, metadata=kind(Whole(limits.SSID)))
    authentication: int = attrs.field(
        default=limits.AUTHENTICATION.default, metadata=kind(Whole(limits.AUTHENTICATION))
    )
    buffer: int = attrs.field(default=limits.BUFFER.default, metadata=kind(Whole(limits.BUFFER)))
    inactivity: int = attrs.field(default=limits.INACTIVITY.default, metadata=kind(Whole(limits.INACTIVITY)))
    closing: int = attrs.field(default=limits.CLOSING.default, metadata=kind(Whole(limits.CLOSING)))
    drain: int = attrs.field(default=limits.DRAIN.default, metadata=kind(Whole(limits.DRAIN)))
    opening: int = attrs.field(default=limits.OPENING.default, metadata=kind(Whole(limits.OPENING)))
    withdrawal: int = attrs.field(default=limits.WITHDRAWAL.default, metadata=kind(Whole(limits.WITHDRAWAL)))


@attrs.frozen(kw_only=True)
class ServerLimits:
    """The server's limits for connections and sessions from outside."""

    sessions: int = attrs.field(default=limits.SESSIONS.default, metadata=kind(Whole(limits.SESSIONS)))
    sessions_per_partner: int = attrs.field(
        default=limits.SESSIONS_PER_PARTNER.default, metadata=kind(Whole(limits.SESSIONS_PER_PARTNER))
    )
    connections: int = attrs.field(default=limits.CONNECTIONS.default, metadata=kind(Whole(limits.CONNECTIONS)))
    connections_per_address: int = attrs.field(
        default=limits.CONNECTIONS_PER_ADDRESS.default, metadata=kind(Whole(limits.CONNECTIONS_PER_ADDRESS))
    )
    unauthenticated_per_address: int = attrs.field(
        default=limits.UNAUTHENTICATED_PER_ADDRESS.default, metadata=kind(Whole(limits.UNAUTHENTICATED_PER_ADDRESS))
    )
    strangers_events: int = attrs.field(
        default=limits.STRANGERS_EVENTS.default, metadata=kind(Whole(limits.STRANGERS_EVENTS))
    )
    command_octets: int = attrs.field(
        default=limits.COMMAND_OCTETS.default, metadata=kind(Whole(limits.COMMAND_OCTETS))
    )

    @property
    def descriptors(self) -> int:
        """The file descriptors that they need: every connection, and one in the tunnel for every session."""
        return self.connections + self.sessions + limits.DESCRIPTORS_SPARE


@attrs.frozen(kw_only=True)
class ClientLimits:
    """The client's limits for sessions, and for what a server asks of it."""

    sessions: int = attrs.field(default=limits.SESSIONS.default, metadata=kind(Whole(limits.SESSIONS)))
    openings_rate: int = attrs.field(default=limits.OPENINGS_RATE.default, metadata=kind(Whole(limits.OPENINGS_RATE)))
    reports_rate: int = attrs.field(default=limits.REPORTS_RATE.default, metadata=kind(Whole(limits.REPORTS_RATE)))
    command_octets: int = attrs.field(
        default=limits.COMMAND_OCTETS.default, metadata=kind(Whole(limits.COMMAND_OCTETS))
    )

    @property
    def descriptors(self) -> int:
        """The file descriptors that they need: one in the tunnel and one to the station for every session."""
        return 2 * self.sessions + limits.DESCRIPTORS_SPARE


class SourceMissing(enum.StrEnum):
    """What a server does that does not have the site's source address."""

    REFUSE = "refuse"
    STOP = "stop"


class LogWord(enum.StrEnum):
    """The levels of logs, as operators write them."""

    TRACE = "trace"
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    FATAL = "fatal"


@attrs.frozen(kw_only=True)
class ApiLog:
    """The log of the backend, which is the API's.

    :ivar path: a file that it is written to, besides what the backend's command line and logrc say. Its name is bound
        to the ending of a log's: who may change settings must not write to any other file of the backend's user.
    :ivar level: what is logged, instead of what they say.
    """

    path: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(
                Line(
                    most=1024,
                    pattern=r"(?:/(?!\.{1,2}/)[^/]+)+\.(?:log|jsonl)",
                    form="an absolute path that ends in .log (text) or .jsonl (JSON lines), without . and .. in it",
                )
            )
        ),
    )
    level: LogWord | None = attrs.field(default=None, metadata=kind(Optional(Member(LogWord))))


class Offer(enum.StrEnum):
    """What partners are told that the station offers."""

    YES = "yes"
    NO = "no"
    UNSAID = "unsaid"


_OPERATION = Line(
    pattern=r"[a-z-]+(?:\.[a-z_-]+)+", form="the name of an operation with full stops, such as partner.accept"
)
_SHEET_CODES = ListOf(item=Line(most=25, pattern="[ -~]+", form="printable ASCII"), most=limits.CODES_PER_PARTNER_MOST)


@attrs.frozen(kw_only=True)
class SheetSettings:
    """What partners are told of this site and its station, which the configuration does not say elsewhere.

    :ivar host: the name or address at which partners reach the server; ``None`` if nobody said it.
    :ivar port: the port at which they reach it, if that is not the port where the server listens; else 0.
    :ivar codes: the station's SSIDCODEs.
    :ivar file_codes: the station's codes in SFIDORIG and SFIDDEST; if it is empty, those are its SSIDCODEs.
    :ivar buffer_octets: the size of its Exchange Buffers; 0 if nobody said it.
    :ivar credit: its credit; 0 if nobody said it.
    :ivar compression: whether it compresses.
    :ivar restart: whether it restarts files.
    :ivar contact: whom partners call: a name, a telephone number, an address.
    """

    host: str | None = attrs.field(
        default=None,
        metadata=kind(Optional(Line(most=253, pattern="[0-9A-Za-z._:-]+", form="a host name or an address"))),
    )
    port: int = attrs.field(default=limits.SHEET_PORT.default, metadata=kind(Whole(limits.SHEET_PORT)))
    codes: tuple[str, ...] = attrs.field(default=(), metadata=kind(_SHEET_CODES))
    file_codes: tuple[str, ...] = attrs.field(default=(), metadata=kind(_SHEET_CODES))
    buffer_octets: int = attrs.field(default=limits.SHEET_BUFFER.default, metadata=kind(Whole(limits.SHEET_BUFFER)))
    credit: int = attrs.field(default=limits.SHEET_CREDIT.default, metadata=kind(Whole(limits.SHEET_CREDIT)))
    compression: Offer = attrs.field(default=Offer.UNSAID, metadata=kind(Member(Offer)))
    restart: Offer = attrs.field(default=Offer.UNSAID, metadata=kind(Member(Offer)))
    contact: str | None = attrs.field(default=None, metadata=kind(Optional(Line(most=200))))


@attrs.frozen(kw_only=True)
class BackendSettings:
    """The settings of the backend's own tasks.

    :ivar keep_events_days: days after which a stored event is deleted; 0 for never.
    :ivar log: its log.
    :ivar download_networks: private and local networks that revocation lists may be downloaded from.
    :ivar event_script: the program that is started for events.
    :ivar sheet: what partners are told of this site.
    :ivar mail: the mail that is sent for events.
    :ivar watching: when partners are told of that are silent or late.
    :ivar four_eyes: the operations that two administrators have to want.
    :ivar page: how the page is reached.
    """

    keep_events_days: int = attrs.field(
        default=limits.KEEP_EVENTS_DAYS.default, metadata=kind(Whole(limits.KEEP_EVENTS_DAYS))
    )
    log: ApiLog = attrs.field(default=ApiLog(), metadata=kind(ObjectOf(ApiLog)))
    download_networks: tuple[str, ...] = attrs.field(
        default=(), metadata=kind(ListOf(item=Network(), most=limits.DOWNLOAD_NETWORKS_MOST))
    )
    event_script: EventScript = attrs.field(default=EventScript(), metadata=kind(ObjectOf(EventScript)))
    sheet: SheetSettings = attrs.field(default=SheetSettings(), metadata=kind(ObjectOf(SheetSettings)))
    mail: Mail = attrs.field(default=Mail(), metadata=kind(ObjectOf(Mail)))
    watching: Watching = attrs.field(default=Watching(), metadata=kind(ObjectOf(Watching)))
    four_eyes: tuple[str, ...] = attrs.field(
        default=(), metadata=kind(ListOf(item=_OPERATION, most=limits.FOUR_EYES_MOST))
    )
    page: PageAccess = attrs.field(default=PageAccess(), metadata=kind(ObjectOf(PageAccess)))


@attrs.frozen(kw_only=True)
class PenaltySettings:
    """When an address that misbehaves is banned, and for how long.

    :ivar exempt: networks that are never banned.
    """

    enabled: bool = attrs.field(default=True, metadata=kind(Flag()))
    threshold: int = attrs.field(default=limits.BAN_THRESHOLD.default, metadata=kind(Whole(limits.BAN_THRESHOLD)))
    ban_seconds: int = attrs.field(default=limits.BAN.default, metadata=kind(Whole(limits.BAN)))
    ban_seconds_most: int = attrs.field(default=limits.BAN_MOST.default, metadata=kind(Whole(limits.BAN_MOST)))
    exempt: tuple[str, ...] = attrs.field(
        default=("127.0.0.0/8", "::1/128"),
        metadata=kind(ListOf(item=Network(), most=limits.EXEMPT_NETWORKS_MOST)),
    )


@attrs.frozen(kw_only=True)
class Station:
    """The station's address.

    :ivar host: its host name or address.
    :ivar timeout: seconds from the start of the connection attempt to the connection.
    :ivar retry: seconds from a call of the station that failed to the next one that no session asked for; 0: it is
        never called without a session, not even at the start.
    :ivar profile: whether known departures of the station from RFC 5024 are tolerated; the partner's own are a matter
        of its entry. The server is told it, too.
    """

    host: str = attrs.field(
        default="127.0.0.1",
        metadata=kind(Line(most=253, pattern="[0-9A-Za-z._:%-]+", form="a host name or an address")),
    )
    port: int = attrs.field(default=limits.STATION_PORT.default, metadata=kind(Whole(limits.STATION_PORT)))
    timeout: int = attrs.field(default=limits.STATION_TIMEOUT.default, metadata=kind(Whole(limits.STATION_TIMEOUT)))
    retry: int = attrs.field(default=limits.STATION_RETRY.default, metadata=kind(Whole(limits.STATION_RETRY)))
    profile: Profile = attrs.field(default=Profile.DEFAULT, metadata=kind(Member(Profile)))


@attrs.frozen(kw_only=True)
class Pool:
    """The client's data connections in the tunnel.

    :ivar ready: the number of connections kept ready for the next sessions.
    :ivar most: the highest number of connections, ready and in use.
    """

    ready: int = attrs.field(default=limits.POOL_READY.default, metadata=kind(Whole(limits.POOL_READY)))
    most: int = attrs.field(default=limits.POOL_MOST.default, metadata=kind(Whole(limits.POOL_MOST)))


@attrs.frozen(kw_only=True)
class OutboundListener:
    """Where the client listens for local programs that name the partner to call (HTTP CONNECT, SOCKS5).

    :ivar enabled: whether it listens; it never does while no partner can be called.
    :ivar address: the client's address; the ports of single partners are opened on it, too.
    """

    enabled: bool = attrs.field(default=True, metadata=kind(Flag()))
    address: str = attrs.field(default="127.0.0.1", metadata=kind(Address()))
    port: int = attrs.field(default=limits.OUTBOUND_PORT.default, metadata=kind(Whole(limits.OUTBOUND_PORT)))


@attrs.frozen(kw_only=True)
class ClientEntry:
    """A smartproxy-client that may call the backend.

    :ivar token_sha256: the SHA-256 of its token; the token itself is not stored.
    :ivar enabled: whether its calls are accepted.
    :ivar address: the only address that it may call from; ``None``: any.
    :ivar listen_address: where it listens for calls to partners, instead of ``client.outbound.address``.
    :ivar listen_port: the port for calls to partners, instead of ``client.outbound.port``.
    """

    name: str = attrs.field(metadata=kind(NAME, people=ForPeople(listed=True)))
    token_sha256: str = attrs.field(repr=masked, metadata=kind(SHA256))
    enabled: bool = attrs.field(default=True, metadata=kind(Flag(), people=ForPeople(listed=True)))
    address: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Address()),
            people=ForPeople(
                help="the only address that it may call from; 127.0.0.1 and ::1 are the same",
                title="bound to",
                unset="any",
                listed=True,
            ),
        ),
    )
    listen_address: str | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Address()),
            people=ForPeople(
                help="the client's own address that it listens on for calls to partners, "
                "instead of client.outbound.address",
                unset="the site's",
            ),
        ),
    )
    listen_port: int | None = attrs.field(
        default=None,
        metadata=kind(
            Optional(Whole(limits.OUTBOUND_PORT)),
            people=ForPeople(
                help="the port that it listens on for calls to partners, instead of client.outbound.port",
                unset="the site's",
                listed=True,
            ),
        ),
    )
    created: datetime.datetime = attrs.field(metadata=kind(Instant()))

    def outbound(self, site: OutboundListener) -> OutboundListener:
        """Where this client listens for calls to partners.

        :param site: what all clients have that say nothing else.
        """
        return attrs.evolve(
            site,
            address=site.address if self.listen_address is None else self.listen_address,
            port=site.port if self.listen_port is None else self.listen_port,
        )
